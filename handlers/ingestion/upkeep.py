"""The steps that bring an index up to date without reading files: restated, moved, refreshed and swept."""

from collections.abc import Sequence

from flows.author import Call, handler
from flows.state import chunked
from handlers.aside import ids_aside
from handlers.ingestion.facets import wanted_facets
from handlers.records import Chunk, SourceFile
from handlers.stores import IndexReader, IndexStore, IndexUpkeep, Rename, Restatement, format_facets

_MOVED_AT_ONCE = 100


@handler(writes="restated_documents", effects=("index.documents", "index.revisions"))
def restate_documents(restatements: Sequence[Restatement], *, call: Call) -> int:
    """Store new tags, URIs and revisions of documents with unchanged content; return the number of documents."""
    return sum(_upkeep(call).restate(some) for some in chunked(restatements))


@handler(writes="moved_documents", effects=("index.documents", "index.vectors", "index.terms", "index.graph"))
def move_documents(moves: Sequence[Rename], *, call: Call) -> int:
    """Move documents, with all their stored data, to the current places of their sources; return the number moved."""
    store: IndexStore = call.services["index_store"]
    moved = 0
    for some in chunked(moves, _MOVED_AT_ONCE):
        before = [row.name for row in store.known([each.document_id for each in some]).values()]
        moved += store.rename(some)
        call.done_items(before, "renamed")
        call.done_items(each.document.name for each in some)
    return moved


@handler(writes="named_documents", effects=("index.documents", "index.revisions"))
def name_documents(names: Sequence[tuple[str, str]], *, call: Call) -> int:
    """Give documents (by id) unique names; return the number of documents."""
    store: IndexStore = call.services["index_store"]
    named = 0
    for some in chunked(names):
        before = store.known([document_id for document_id, _ in some])
        named += store.name_documents(dict(some))
        call.done_items((row.name for row in before.values()), "renamed")
        for document_id, name in some:
            if document_id in before:
                call.done_items([name], before[document_id].status)
    return named


@handler(writes="chunks", effects=())
def load_chunks(sources: Sequence[SourceFile], *, call: Call) -> tuple[Chunk, ...]:
    """The stored passages of documents, in their order."""
    store: IndexReader = call.services["index_store"]
    return tuple(chunk for source in sources for chunk in store.chunks_of(source.document_id))


@handler(writes="refreshed_documents", effects=("index.documents", "index.revisions"), publishes=True)
def confirm_documents(sources: Sequence[SourceFile], *, call: Call) -> int:
    """Publish the new facets of documents and the record of how they were made; return the number of documents."""
    made, gone = format_facets(wanted_facets(call)), ids_aside(sources, call)
    return _upkeep(call).restate(
        [
            Restatement(each.document_id, each.uri, each.revision, made, each.tags, call.run_id)
            for each in sources
            if each.document_id not in gone
        ]
    )


@handler(writes="swept", effects=("index.documents", "index.leftovers"))
def sweep_leftovers(*, older_than_s: float = 86_400.0, call: Call) -> int:
    """Remove everything that earlier runs staged but never published; return the number of versions and passages.

    Leftovers of runs that the run store reports as dead are removed immediately, others if older than `older_than_s`
    seconds. A dead run that is resumed later stages its unpublished data again.
    """
    alive, dead = {call.run_id}, set[str]()
    if "known_runs" in call.services:
        known_alive, known_dead = call.services["known_runs"].alive_and_dead()
        alive, dead = alive | known_alive, known_dead - alive
    swept = _upkeep(call).sweep(alive=alive, dead=dead, older_than_s=older_than_s)
    if swept.versions or swept.chunks or swept.documents:
        call.logger.info(
            "index %s: removed %d versions, %d passages and %d documents left by crashed runs",
            call.index,
            swept.versions,
            swept.chunks,
            swept.documents,
        )
    return swept.versions + swept.chunks


def _upkeep(call: Call) -> IndexUpkeep:
    return call.services["index_store"]
