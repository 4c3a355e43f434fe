"""The common part of the extractors of tables, images and code: reading documents again, making records."""

import hashlib
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from flows.author import Call
from flows.errors import StepCancelled, StorageError, StorageUnusable, TransientError
from handlers.extraction.formats import Unreadable
from handlers.extraction.members import fetch_source
from handlers.extraction.parsing import TooBusy
from handlers.records import Artifact, Document, stable_id

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class FoundArtifact:
    """An artifact before it has an id; `identity` tells it from others where the content does not."""

    content: str
    uri: str | None = None
    page: int | None = None
    language: str | None = None
    identity: str = ""


def collect(
    documents: Sequence[Document], kind: str, find: Callable[[Document], Iterable[FoundArtifact]], call: Call
) -> tuple[Artifact, ...]:
    """The results of `find` for each document, in order; unreadable documents are set aside with the reason."""
    artifacts: list[Artifact] = []
    for number, document in enumerate(documents):
        call.check_cancelled()
        call.report_progress(number, len(documents))
        seen: Counter[str] = Counter()
        try:
            for found in find(document):
                identity = stable_id(document.id, kind, found.content, found.identity)
                artifact_id = stable_id(identity, str(seen[identity]))
                seen[identity] += 1
                artifacts.append(
                    Artifact(artifact_id, document.id, kind, found.content, found.uri, found.page, found.language)
                )
        except (StorageUnusable, StepCancelled, TransientError):
            raise
        except (Unreadable, StorageError) as error:
            reason = f"{kind}s: {str(error).removeprefix(f'{document.uri}: ')}"
            logger.warning("%s: set aside, %s", document.name, reason)
            call.fail_item(document.name, reason, transient=isinstance(error, TooBusy))
        except Exception as error:  # whatever a parser stumbles over is the fault of this document alone
            logger.warning("%s: looking for %ss failed", document.name, kind, exc_info=True)
            call.fail_item(
                document.name, f"{kind}s: their reader failed ({type(error).__name__}); the log has the details"
            )
    call.report_progress(len(documents), len(documents))
    return tuple(artifacts)


def artifact_ids(document_id: str, artifacts: Sequence[Artifact]) -> list[str]:
    """The ids that artifacts get in a document of that id; not those of images, which depend on their bytes."""
    seen: Counter[str] = Counter()
    found: list[str] = []
    for each in artifacts:
        identity = stable_id(document_id, each.kind, each.content, "")
        found.append(stable_id(identity, str(seen[identity])))
        seen[identity] += 1
    return found


def read_again(document: Document, call: Call) -> bytes:
    """The bytes that the document was extracted from.

    Raises:
        TooBusy: they changed since.
    """
    data = fetch_source(document.uri, call).data
    if hashlib.sha256(data).hexdigest() != document.content_sha256:
        raise TooBusy("changed while it was being ingested; ingest it again")
    return data
