"""`find_changes`: what a listing has that the index has not, so that nothing is done twice; and the steps that need it.

A document is known unchanged by what its listing says of it (`SourceFile.revision`), else by the hash of its content.
How it was made is recorded per facet (`handlers.ingestion.facets`): where only vectors, terms or facts are made in
another way now, they are made anew from the stored passages, and nothing is read.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, TypeVar

from flows.author import Call, handler
from flows.errors import FatalError, StorageError, suggest
from flows.state import DiskSequence, Spool
from flows.storage import Storage, glob_filter
from handlers.ingestion.facets import DOCUMENTS, FACETS, facets_of_step, stale_facets, wanted_facets
from handlers.ingestion.listing import Listing
from handlers.ingestion.moves import renames_of
from handlers.records import Chunk, SourceFile
from handlers.sources import HIDDEN
from handlers.stores import DocumentState, IndexStore, Rename, Restatement, written

_PAGE = 500
_MOVED_AT_ONCE = 100
_Item = TypeVar("_Item")


@handler(
    writes=("batches", "refreshes", "restatements", "moves", "vanished", "redo", "stale", "changes"),
    effects=(),
)
def find_changes(
    sources: Sequence[SourceFile],
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
    included, excluded = glob_filter(pattern), [glob_filter(glob) for glob in exclude]
    listing = Listing(sources)

    def looked_at(name: str) -> bool:
        return included(name) and not any(matches(name) for matches in excluded)

    below = gone = 0
    for page in _pages(call.services["index_store"]):
        call.check_cancelled()
        here = listing.meet([state.id for state in page])
        missing: list[DocumentState] = []
        for state in page:
            inside = bool(root) and state.uri.startswith(root)
            below += inside
            if state.id in here:
                looking.compare(state, here[state.id])
            elif inside and looked_at(state.uri.removeprefix(root)):
                missing.append(state)
        elsewhere = listing.uris([state.uri for state in missing])
        missing = [state for state in missing if state.uri not in elsewhere]
        listing.miss(missing)
        gone += len(missing)
    moves = _moves(listing, gone, looking)
    vanished = gone - len(moves)
    if prune:
        _check_share(vanished, below, len(sources), max_prune_share, source)
    process, refresh, restate = looking.process.finish(), looking.refresh.finish(), looking.restate.finish()
    changes = {
        "listed": len(sources),
        "unchanged": looking.unchanged,
        "process": len(process),
        "refresh": len(refresh),
        "restate": len(restate),
        "move": len(moves),
        "quarantined": looking.quarantined,
        "vanished": vanished,
        "removed": vanished if prune else 0,
    }
    call.logger.info("index %s: %s", call.index, ", ".join(f"{count} {name}" for name, count in changes.items()))
    return {
        "batches": batched(process, batch_documents, batch_bytes),
        "refreshes": batched(refresh, 4 * batch_documents, 4 * batch_bytes),
        "restatements": restate,
        "moves": moves,
        "vanished": DiskSequence(listing.vanished() if prune else ()),
        "redo": tuple(sorted(redo)),
        "stale": tuple(sorted(looking.stale)),
        "changes": changes,
    }


@handler(writes="restated_documents", effects=("index.documents", "index.revisions"))
def restate_documents(restatements: Sequence[Restatement], *, call: Call) -> int:
    """Note new tags and what is new of files whose content stayed; the number of documents."""
    return sum(_store(call).restate(some) for some in _pieces(restatements, _PAGE))


@handler(writes="moved_documents", effects=("index.documents", "index.vectors", "index.terms", "index.graph"))
def move_documents(moves: Sequence[Rename], *, call: Call) -> int:
    """Move documents with all that is stored of them to where their sources are now; the number moved."""
    store = _store(call)
    moved = 0
    for some in _pieces(moves, _MOVED_AT_ONCE):
        before = [row.name for row in store.known([each.document_id for each in some]).values()]
        moved += store.rename(some)
        call.done_items(before, "removed")
        call.done_items(each.document.name for each in some)
    return moved


@handler(writes="chunks", effects=())
def load_chunks(sources: Sequence[SourceFile], *, call: Call) -> tuple[Chunk, ...]:
    """The stored passages of documents, in their order."""
    store = _store(call)
    return tuple(chunk for source in sources for chunk in store.chunks_of(source.document_id))


@handler(writes="refreshed_documents", effects=("index.documents", "index.revisions"), publishes=True)
def confirm_documents(sources: Sequence[SourceFile], *, call: Call) -> int:
    """Note how the facets of documents are made now; the number of documents."""
    made = written(wanted_facets(call))
    return _store(call).restate(
        [Restatement(each.document_id, each.uri, each.revision, made, each.tags, call.run_id) for each in sources]
    )


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
        call.logger.info(
            "index %s: swept %d versions, %d passages and %d documents that crashed runs left",
            call.index,
            swept.versions,
            swept.chunks,
            swept.documents,
        )
    return swept.versions + swept.chunks


def batched(sources: Sequence[SourceFile], most: int, most_bytes: int) -> Sequence[tuple[SourceFile, ...]]:
    """Batches in order, none of more documents or bytes than said, but for a document that is larger alone.

    Where there are more than 200 batches they take more documents, up to eight times as many: a run keeps about 10 kB
    of what the steps of each batch did; still larger ones would take more memory than that saves.
    """
    most = min(8 * most, max(most, len(sources) // 200))

    def batches() -> Iterator[tuple[SourceFile, ...]]:
        batch: list[SourceFile] = []
        size = 0
        for each in sources:
            if batch and (len(batch) >= most or size + each.size > most_bytes):
                yield tuple(batch)
                batch, size = [], 0
            batch.append(each)
            size += each.size
        if batch:
            yield tuple(batch)

    return DiskSequence(batches())


@dataclass
class _Comparison:
    """Sorts documents by what has to be done with them."""

    call: Call
    redo: set[str]
    force: bool
    retry_failed: bool
    process: Spool[SourceFile] = field(default_factory=lambda: Spool(key=_name))
    refresh: Spool[SourceFile] = field(default_factory=lambda: Spool(key=_name))
    stale: set[str] = field(default_factory=set[str])
    restate: Spool[Restatement] = field(default_factory=Spool[Restatement])
    unchanged: int = 0
    quarantined: int = 0

    def __post_init__(self) -> None:
        self.wanted = wanted_facets(self.call)
        self.storage: Storage = self.call.services["storage"]

    def compare(self, state: DocumentState, source: SourceFile) -> None:
        if self.force or state.status == "pending":
            self.process.add(source)
        elif state.status == "failed":
            if self.retry_failed or state.tried != tried(source, self.call):
                self.process.add(source)
            else:
                self.quarantined += 1
        elif not self._same_content(state, source):
            self.process.add(source)
        else:
            stale = stale_facets(state.fingerprint, self.wanted, self.redo)
            if DOCUMENTS in stale:
                self.process.add(source)
            elif stale:
                self.refresh.add(source)
                self.stale |= stale
            elif (state.uri, state.revision, state.tags) != (source.uri, source.revision, source.tags):
                tags = source.tags if source.tags != state.tags else None
                self.restate.add(Restatement(state.id, source.uri, source.revision, tags=tags))
                self.unchanged += tags is None and source.uri == state.uri
            else:
                self.unchanged += 1

    def _same_content(self, state: DocumentState, source: SourceFile) -> bool:
        if source.certain and state.revision == source.revision:
            return True
        if source.etag is not None and f":{source.etag}:" not in state.revision:
            return False  # known without downloading it
        return self.digest(source) == state.content_sha256

    def digest(self, source: SourceFile) -> str:
        """The hash of the content; empty if it cannot be read now."""
        try:
            with self.storage.open(source.uri) as stream:
                return hashlib.file_digest(stream, "sha256").hexdigest()  # pyright: ignore[reportArgumentType]
        except StorageError as error:
            self.call.logger.warning("%s: cannot be read (%s)", source.name, error)
            return ""


def tried(source: SourceFile, call: Call) -> str:
    """What of a source is tried, and how: a failed document is not read again before either changes."""
    return f"{source.revision} {wanted_facets(call).get(DOCUMENTS, '')}"


def _name(source: SourceFile) -> str:
    return source.name


def _moves(listing: Listing, gone: int, looking: _Comparison) -> Sequence[Rename]:
    """Documents that are found elsewhere with the same content; all else that is new is to be processed."""
    moves = Spool[Rename]()
    for some in _pieces(listing.new(), _MOVED_AT_ONCE):
        pairs: list[tuple[DocumentState, SourceFile]] = []
        for source in some:
            state = None
            if gone and not looking.force and listing.may_be_moved(source):
                state = listing.take_moved(looking.digest(source))
            if state is None:
                looking.process.add(source)
            else:
                pairs.append((state, source))
        renames, again = renames_of(pairs, looking.call.services["index_store"])
        for (state, source), move in zip(pairs, renames, strict=True):
            moves.add(move)
            stale = stale_facets(state.fingerprint, looking.wanted, looking.redo)
            if source.document_id in again or DOCUMENTS in stale:
                looking.process.add(source)
            elif stale:
                looking.refresh.add(source)
                looking.stale |= stale
    return moves.finish()


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
        known = sorted({step for each in call.identity.effect_fingerprints.values() for step in each.steps})
        raise FatalError(
            f"only_step: no step of this pipeline that makes what is stored is called {only_step!r}"
            f"{suggest(only_step, known)}"
        )
    return found


def _pages(store: IndexStore) -> Iterator[list[DocumentState]]:
    after = ""
    while page := store.document_states(after=after, limit=_PAGE):
        yield page
        after = page[-1].id


def _pieces(items: Iterable[_Item], most: int) -> Iterator[list[_Item]]:
    going = iter(items)
    while piece := list(islice(going, most)):
        yield piece


def _store(call: Call) -> IndexStore:
    return call.services["index_store"]
