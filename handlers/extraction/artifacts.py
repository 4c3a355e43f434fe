"""Shared by the extractors of tables, images and code: rereading documents, and making records."""

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
    """An artifact before it has an id; `identity` distinguishes it from artifacts with the same content."""

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
        except Exception as error:  # any error of a parser concerns this document alone
            logger.warning("%s: looking for %ss failed", document.name, kind, exc_info=True)
            call.fail_item(
                document.name, f"{kind}s: their reader failed ({type(error).__name__}); the log has the details"
            )
    call.report_progress(len(documents), len(documents))
    return tuple(artifacts)


def artifact_ids(document_id: str, artifacts: Sequence[Artifact]) -> list[str]:
    """The ids of artifacts in the document with that id; not for images, whose ids depend on their bytes."""
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
        TooBusy: the document has changed since.
    """
    data = fetch_source(document.uri, call).data
    if hashlib.sha256(data).hexdigest() != document.content_sha256:
        raise TooBusy("changed while it was being ingested; ingest it again")
    return data
