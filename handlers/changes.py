"""`find_changes`: what a listing has that the index has not, so that nothing is done twice; and the steps that need it.

A document is known unchanged by what its listing says of it (`Source.revision`), else by the hash of its content. How
it was made is told facet by facet (`handlers.facets`): where only vectors, terms or facts are made in another way now,
they are made anew from the stored passages, and nothing is read.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from flows.calls import Call
from flows.errors import FatalError, StorageError, suggest
from flows.registry import handler
from flows.storage import Storage
from handlers.facets import DOCUMENTS, FACETS, facets_of_step, stale_facets, wanted_facets, written
from handlers.globs import compiled
from handlers.moves import renames_of
from handlers.records import Chunk, Source
from handlers.sources import HIDDEN
from handlers.stores.protocol import DocumentState, IndexStore, Rename, Restatement

_PAGE = 1000


@handler(
    writes=("batches", "refreshes", "restatements", "moves", "vanished", "redo", "stale", "changes"), effects=(),
)  # fmt: skip
def find_changes(
    sources: Sequence[Source],
    source: str = "",
    force: bool = False,
    only_step: str | None = None,
    retry_failed: bool = False,
    *,
    pattern: str = "**/*",
    exclude: Sequence[str] = HIDDEN,
    prune: bool = False,
    max_prune_share: float = 0.2,
    batch_documents: int = 8,
    batch_bytes: int = 4_000_000,
    call: Call,
) -> dict[str, Any]:
    """What has to be done so that the index says what the sources say.

    `batches` are sources to be processed, of at most `batch_documents` and `batch_bytes` each (more documents where
    there are very many); `refreshes` are batches of those whose stored passages need new vectors, terms or facts, and
    `stale` says which of these; `restatements` and `moves` only concern what is noted of documents; `vanished` are ids
    of documents below `source` that are no longer there, empty without `prune`. `redo` names facets of which nothing
    stored is used again, and `changes` counts. With `force` everything is processed, with `only_step` only what that
    step's work goes into.

    Raises:
        FatalError: `prune` would remove more than `max_prune_share` of the documents below `source`; or no step is
            called `only_step`.
    """
    redo = _redo(call, force, only_step)
    looking = _Comparison(call, redo, force, retry_failed)
    root = Storage.join(source).rstrip("/") + "/" if source else ""
    listed = {each.document_id: each for each in sources}
    uris = {each.uri for each in sources}
    excluded = [compiled(glob) for glob in exclude]
    included = compiled(pattern)
    gone: list[DocumentState] = []
    below = 0
    for state in _states(call.services["index_store"]):
        call.check_cancelled()
        here = listed.pop(state.id, None)
        below += bool(root) and state.uri.startswith(root)
        if here is not None:
            looking.compare(state, here)
        elif root and state.uri.startswith(root) and state.uri not in uris:
            name = state.uri.removeprefix(root)
            if included(name) and not any(matches(name) for matches in excluded):
                gone.append(state)
    # What is left in `listed`, the index has not.
    moves, moved = _moves(gone, sorted(listed.values(), key=lambda each: each.name), looking)
    vanished = [state for state in gone if state.id not in {move.document_id for move in moves}]
    if prune:
        _check_share(len(vanished), below, len(sources), max_prune_share, source)
    looking.process += [each for each in listed.values() if each.document_id not in moved]
    looking.process.sort(key=lambda each: each.name)
    changes = {
        "listed": len(sources), "unchanged": looking.unchanged, "process": len(looking.process),
        "refresh": len(looking.refresh), "restate": len(looking.restate), "move": len(moves),
        "quarantined": looking.quarantined, "vanished": len(vanished), "removed": len(vanished) if prune else 0,
    }  # fmt: skip
    call.logger.info("index %s: %s", call.index, ", ".join(f"{count} {name}" for name, count in changes.items()))
    return {
        "batches": batched(looking.process, batch_documents, batch_bytes),
        "refreshes": batched(looking.refresh, 4 * batch_documents, 4 * batch_bytes),
        "restatements": tuple(looking.restate),
        "moves": tuple(moves),
        "vanished": tuple(state.id for state in vanished) if prune else (),
        "redo": tuple(sorted(redo)),
        "stale": tuple(sorted(looking.stale)),
        "changes": changes,
    }


@handler(writes="restated_documents", effects=("index.documents", "index.revisions"))
def restate_documents(restatements: Sequence[Restatement], *, call: Call) -> int:
    """Note new tags and what is new of files whose content stayed; the number of documents."""
    return _store(call).restate(restatements)


@handler(writes="moved_documents", effects=("index.documents", "index.vectors", "index.terms", "index.graph"))
def move_documents(moves: Sequence[Rename], *, call: Call) -> int:
    """Move documents with all that is stored of them to where their sources are now; the number moved."""
    store = _store(call)
    before = [row.name for row in store.known([each.document_id for each in moves]).values()]
    moved = store.rename(moves)
    call.done_items(before, "removed")
    call.done_items(each.document.name for each in moves)
    return moved


@handler(writes="chunks", effects=())
def load_chunks(sources: Sequence[Source], *, call: Call) -> tuple[Chunk, ...]:
    """The stored passages of documents, in their order."""
    store = _store(call)
    return tuple(chunk for source in sources for chunk in store.chunks_of(source.document_id))


@handler(writes="refreshed_documents", effects=("index.documents", "index.revisions"), publishes=True)
def confirm_documents(sources: Sequence[Source], *, call: Call) -> int:
    """Note how the facets of documents are made now; the number of documents."""
    made = written(wanted_facets(call))
    return _store(call).restate([
        Restatement(each.document_id, each.uri, each.revision, made, each.tags) for each in sources
    ])  # fmt: skip


@handler(writes="swept", effects=("index.documents", "index.leftovers"))
def sweep_leftovers(*, older_than_s: float = 86_400.0, call: Call) -> int:
    """Remove what earlier runs staged and never published; how many versions and passages.

    Of runs that the run store knows to be dead at once, of others when it is older than `older_than_s`. A dead run that
    is resumed afterwards stages again what it has not published.
    """
    alive, dead = {call.run_id}, set[str]()
    if "known_runs" in call.services:
        known_alive, known_dead = call.services["known_runs"].alive_and_dead()
        alive, dead = alive | known_alive, known_dead - alive
    swept = _store(call).sweep(alive=alive, dead=dead, older_than_s=older_than_s)
    if swept.versions or swept.chunks or swept.documents:
        call.logger.info("index %s: swept %d versions, %d passages and %d documents that crashed runs left",
                         call.index, swept.versions, swept.chunks, swept.documents)  # fmt: skip
    return swept.versions + swept.chunks


def batched(sources: Sequence[Source], most: int, most_bytes: int) -> tuple[tuple[Source, ...], ...]:
    """Batches in order, none of more documents or bytes than said, but for a document that is larger alone.

    Where there are more than 200 batches they take more documents, up to eight times as many: what a run notes of its
    steps would else grow with the number of small documents.
    """
    most = min(8 * most, max(most, len(sources) // 200))
    found: list[list[Source]] = []
    size = 0
    for each in sources:
        if not found or len(found[-1]) >= most or size + each.size > most_bytes:
            found.append([])
            size = 0
        found[-1].append(each)
        size += each.size
    return tuple(map(tuple, found))


@dataclass
class _Comparison:
    """Sorts documents by what has to be done with them."""

    call: Call
    redo: set[str]
    force: bool
    retry_failed: bool
    process: list[Source] = field(default_factory=list[Source])
    refresh: list[Source] = field(default_factory=list[Source])
    stale: set[str] = field(default_factory=set[str])
    restate: list[Restatement] = field(default_factory=list[Restatement])
    unchanged: int = 0
    quarantined: int = 0

    def __post_init__(self) -> None:
        self.wanted = wanted_facets(self.call)
        self.storage: Storage = self.call.services["storage"]

    def compare(self, state: DocumentState, source: Source) -> None:
        if self.force or state.status == "pending":
            self.process.append(source)
        elif state.status == "failed":
            if self.retry_failed or state.tried != tried(source, self.call):
                self.process.append(source)
            else:
                self.quarantined += 1
        elif not self._same_content(state, source):
            self.process.append(source)
        else:
            stale = stale_facets(state.fingerprint, self.wanted, self.redo)
            if DOCUMENTS in stale:
                self.process.append(source)
            elif stale:
                self.refresh.append(source)
                self.stale |= stale
            elif (state.uri, state.revision, state.tags) != (source.uri, source.revision, source.tags):
                tags = source.tags if source.tags != state.tags else None
                self.restate.append(Restatement(state.id, source.uri, source.revision, tags=tags))
                self.unchanged += tags is None and source.uri == state.uri
            else:
                self.unchanged += 1

    def _same_content(self, state: DocumentState, source: Source) -> bool:
        if source.certain and state.revision == source.revision:
            return True
        if source.etag is not None and f":{source.etag}:" not in state.revision:
            return False  # known without downloading it
        return self.digest(source) == state.content_sha256

    def digest(self, source: Source) -> str:
        """The hash of the content; empty if it cannot be read now."""
        try:
            with self.storage.open(source.uri) as stream:
                return hashlib.file_digest(stream, "sha256").hexdigest()  # pyright: ignore[reportArgumentType]
        except StorageError as error:
            self.call.logger.warning("%s: cannot be read (%s)", source.name, error)
            return ""


def tried(source: Source, call: Call) -> str:
    """What of a source is tried, and how: a failed document is not read again before either changes."""
    return f"{source.revision} {wanted_facets(call).get(DOCUMENTS, '')}"


def _moves(gone: Sequence[DocumentState], new: Sequence[Source], looking: _Comparison) -> tuple[list[Rename], set[str]]:
    """Documents that are found elsewhere with the same content, and the ids of the places that need nothing more."""
    by_content: defaultdict[str, list[DocumentState]] = defaultdict(list)
    for state in gone:
        if state.content_sha256 and not looking.force:
            by_content[state.content_sha256].append(state)
    pairs: list[tuple[DocumentState, Source]] = []
    sizes = {state.revision.lstrip("~").partition(":")[0] for states in by_content.values() for state in states}
    etags = {state.revision.split(":")[1] for states in by_content.values() for state in states if state.revision}
    for source in new if by_content else ():
        if str(source.size) in sizes and (source.etag is None or source.etag in etags):
            states = by_content.get(looking.digest(source))
            if states:
                pairs.append((states.pop(0), source))
    moves, again = renames_of(pairs, looking.call.services["index_store"])
    done: set[str] = set()
    for (state, source), move in zip(pairs, moves, strict=True):
        stale = stale_facets(state.fingerprint, looking.wanted, looking.redo)
        if source.document_id in again or DOCUMENTS in stale:
            continue
        done.add(move.document.id)
        if stale:
            looking.refresh.append(source)
            looking.stale |= stale
    return moves, done


def _check_share(vanished: int, below: int, listed: int, most: float, source: str) -> None:
    if not vanished:
        return
    if not listed or vanished > most * below:
        enough = min(1.0, -(-100 * vanished // below) / 100)
        raise FatalError(
            f"{vanished} of the {below} documents that the index has from {source} are no longer there, more than may "
            f"be removed at once (max_prune_share: {most:g}); nothing was changed. Is the folder mounted, the prefix "
            f"right? If they are really gone, run again with --max-prune-share {enough:g}"
        )


def _redo(call: Call, force: bool, only_step: str | None) -> set[str]:
    if force:
        return set(FACETS)
    if not only_step:
        return set()
    found = facets_of_step(call, only_step)
    if not found:
        known = sorted({step for each in call.identity.lineages.values() for step in each.steps})
        raise FatalError(f"only_step: no step of this pipeline that makes what is stored is called {only_step!r}"
                         f"{suggest(only_step, known)}")  # fmt: skip
    return found


def _states(store: IndexStore) -> Iterator[DocumentState]:
    after = ""
    while page := store.document_states(after=after, limit=_PAGE):
        yield from page
        after = page[-1].id


def _store(call: Call) -> IndexStore:
    return call.services["index_store"]
