"""Sets failed documents aside one by one, so that a bad document never affects the others."""

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from flows.author import Call, may_pass
from flows.errors import FatalError, OrchestrationError, StepCancelled
from handlers.records import Artifact, Chunk, Document, SourceFile

logger = logging.getLogger(__name__)
PartOfDocument = TypeVar("PartOfDocument", Chunk, Artifact)
Item = TypeVar("Item")
Result = TypeVar("Result")


class DocumentRefused(OrchestrationError):
    """A working model or store refuses one document; the message is the reason."""


class DocumentOvertaken(FatalError):
    """Another run has replaced the staged data of a document; the next ingestion tries the document again."""


def remaining(documents: Iterable[Document], call: Call) -> list[Document]:
    """The documents that no earlier step has set aside."""
    return [each for each in documents if call.aside.keys().isdisjoint((each.name, each.uri, each.id))]


def remaining_chunks(chunks: Iterable[Chunk], sources: Sequence[SourceFile], call: Call) -> list[Chunk]:
    """The chunks of documents that no earlier step has set aside."""
    gone = ids_aside(sources, call)
    return [chunk for chunk in chunks if chunk.document_id not in gone]


def ids_aside(sources: Sequence[SourceFile], call: Call) -> frozenset[str]:
    """The ids of the documents that earlier steps have set aside, by any name."""
    by_name = {each.document_id for each in sources if each.name in call.aside or each.uri in call.aside}
    return frozenset(by_name | call.aside.keys())


def by_document(parts: Iterable[PartOfDocument]) -> dict[str, list[PartOfDocument]]:
    """The chunks or artifacts of each document, by its id."""
    found: dict[str, list[PartOfDocument]] = {}
    for part in parts:
        found.setdefault(part.document_id, []).append(part)
    return found


def names_of(sources: Sequence[SourceFile]) -> Callable[[str], str]:
    """A function from the id of a document to its name, or to the id itself if the document has no source here."""
    names = {source.document_id: source.name for source in sources}
    return lambda document_id: names.get(document_id, document_id)


def name_of(document: Document) -> str:
    """The name of a document."""
    return document.name


def one_by_one(
    work: Callable[[Item], Result], items: Sequence[Item], name_of: Callable[[Item], str], call: Call, *, doing: str
) -> list[Result]:
    """The results of `work` for each document, in order; a document whose work fails is set aside.

    Raises:
        FatalError: every document failed with an error of ours, and another run has overtaken none of them, so the
            documents are not the cause.
        Exception: a transient error, or one of the machine or the network.
    """
    found = _each(work, items, name_of, call, doing)
    call.report_progress(len(items), len(items))
    return found


def together(
    work: Callable[[Sequence[Item]], Result],
    items: Sequence[Item],
    name_of: Callable[[Item], str],
    call: Call,
    *,
    doing: str,
) -> list[Result]:
    """The result of `work` for all documents in one call; if that fails, call it for each and leave out failed
    documents.

    Raises:
        Exception: as `one_by_one`.
    """
    if len(items) > 1:
        try:
            return [work(items)]
        except Exception as error:
            if not is_of_the_document(error):
                raise
            logger.warning("%s failed for %d documents at once (%s): trying each", doing, len(items), error)
    return _each(lambda item: work([item]), items, name_of, call, doing)


def _each(
    work: Callable[[Item], Result], items: Sequence[Item], name_of: Callable[[Item], str], call: Call, doing: str
) -> list[Result]:
    done: list[Result] = []
    failed: list[tuple[Item, Exception]] = []
    for item in items:
        call.check_cancelled()
        try:
            done.append(work(item))
        except Exception as error:
            if not is_of_the_document(error):
                raise
            failed.append((item, error))
    # A document that was overtaken shows that the store works, so the documents are set aside.
    if failed and not done and all(_may_concern_all(error) for _, error in failed):
        raise failed[0][1]
    for item, error in failed:
        set_aside(name_of(item), error, call, doing=doing)
    return done


def _may_concern_all(error: Exception) -> bool:
    return isinstance(error, FatalError) and not isinstance(error, DocumentOvertaken)


def is_of_the_document(error: Exception) -> bool:
    """Whether the cause of an error is the document, and not the network, the machine or the run."""
    if isinstance(error, DocumentRefused):
        return True
    if isinstance(error, FatalError):
        return not isinstance(error, OSError)  # the storage refuses; errors of single documents are handled by the step
    if isinstance(error, (OrchestrationError, StepCancelled, OSError)) or may_pass(error):
        return False
    kinds = {kind.__name__ for kind in type(error).__mro__}
    # By name, so that the errors of a database are recognised without importing its driver.
    return kinds.isdisjoint({"OperationalError", "InterfaceError", "InternalError", "ProgrammingError"})


def set_aside(name: str, error: BaseException, call: Call, *, doing: str = "") -> None:
    """Set a document aside with its reason; log the traceback of an unexpected error."""
    expected = isinstance(error, OrchestrationError)
    logger.warning("%s: set aside, %s: %s", name, doing, error, exc_info=None if expected else error)
    said = str(error) if expected else f"{type(error).__name__}: {error}; the log has the traceback"
    call.fail_item(
        name, f"{doing}: {said}" if doing else said, transient=isinstance(error, (MemoryError, DocumentOvertaken))
    )
