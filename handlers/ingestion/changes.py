"""`find_changes`: the difference between a listing and the index, so that nothing is done twice.

A document is unchanged if its listing is (`SourceFile.revision`), else if the hash of its content is. How it was made
is recorded per facet (`handlers.ingestion.facets`): if only vectors, terms or facts are made in another way now, they
are made anew from the stored passages, without reading the file.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from flows.author import Call, handler
from flows.errors import FatalError, StorageError, suggest
from flows.model import share_of
from flows.state import DiskSequence, Spool, chunked
from flows.storage import Storage, glob_filter
from handlers.ingestion.facets import DOCUMENTS, FACETS, facets_of_step, stale_facets, wanted_facets
from handlers.ingestion.listing import Listing
from handlers.ingestion.moves import renames_of
from handlers.options import Options, spread
from handlers.records import SourceFile
from handlers.sources import HIDDEN
from handlers.stores import DocumentState, IndexReader, Rename, Restatement

_PAGE = 500
_MOVED_AT_ONCE = 100


@dataclass(frozen=True)
class Pruning(Options):
    """Which documents a listing covers, so that they are gone if it lacks them, and whether those are removed."""

    pattern: str = "**/*"
    exclude: Sequence[str] = HIDDEN
    prune: bool = False
    max_prune_share: float = 0.2


@dataclass(frozen=True)
class Batching(Options):
    """How much goes into one batch."""

    batch_documents: int = 8
    batch_bytes: int = 4_000_000


@handler(
    writes=("batches", "refreshes", "restatements", "moves", "vanished", "redo", "stale", "changes"),
    effects=(),
)
@spread
def find_changes(
    sources: Sequence[SourceFile],
    source: str = "",
    force: bool = False,
    only_step: str | None = None,
    retry_failed: bool = False,
    *,
    pruning: Pruning,
    batching: Batching,
    call: Call,
) -> dict[str, Any]:
    """The work that brings the index up to date with the sources.

    `batches` are sources to be processed, of at most `batch_documents` and `batch_bytes` each (more documents if there
    are very many). `refreshes` are batches of sources whose stored passages need new vectors, terms or facts, and
    `stale` names these facets. `restatements` and `moves` change documents without processing them. `vanished` are ids
    of documents below `source` that are no longer there, empty without `prune`. `redo` names facets that are made
    again even if they are stored, and `changes` has counts. `force` processes everything; `only_step` makes only the
    facets again that the step's work goes into.

    Raises:
        FatalError: `prune` would remove more than `max_prune_share` of the documents below `source`; or no step is
            called `only_step`.
    """
    redo = _facets_to_redo(call, force, only_step)
    comparison = _Comparison(call, redo, force, retry_failed)
    root = Storage.join(source).rstrip("/") + "/" if source else ""
    included, excluded = glob_filter(pruning.pattern), [glob_filter(glob) for glob in pruning.exclude]
    listing = Listing(sources)

    def is_covered(name: str) -> bool:
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
                comparison.compare(state, here[state.id])
            elif inside and is_covered(state.uri.removeprefix(root)):
                missing.append(state)
        elsewhere = listing.uris([state.uri for state in missing])
        missing = [state for state in missing if state.uri not in elsewhere]
        listing.miss(missing)
        gone += len(missing)
    moves = _moves(listing, gone, comparison)
    vanished = gone - len(moves)
    if pruning.prune:
        _check_share(vanished, below, len(sources), pruning.max_prune_share, source)
    process, refresh = comparison.process.finish(), comparison.refresh.finish()
    restate = comparison.restate.finish()
    changes = {
        "listed": len(sources),
        "unchanged": comparison.unchanged,
        "process": len(process),
        "refresh": len(refresh),
        "restate": len(restate),
        "move": len(moves),
        "quarantined": comparison.quarantined,
        "vanished": vanished,
        "removed": vanished if pruning.prune else 0,
    }
    call.logger.info("index %s: %s", call.index, ", ".join(f"{count} {name}" for name, count in changes.items()))
    return {
        "batches": make_batches(process, batching.batch_documents, batching.batch_bytes),
        "refreshes": make_batches(refresh, 4 * batching.batch_documents, 4 * batching.batch_bytes),
        "restatements": restate,
        "moves": moves,
        "vanished": DiskSequence(listing.vanished() if pruning.prune else ()),
        "redo": tuple(sorted(redo)),
        "stale": tuple(sorted(comparison.stale)),
        "changes": changes,
    }


def make_batches(sources: Sequence[SourceFile], most: int, most_bytes: int) -> Sequence[tuple[SourceFile, ...]]:
    """Batches in order, none of more documents or bytes than given, except for single documents that are larger.

    If there are more than 200 batches, they take more documents, up to eight times as many: a run keeps about 10 kB of
    each batch. Still larger batches would take more memory than that saves.
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
    """Sorts documents by the work that they need."""

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
            if self.retry_failed or state.tried != attempt_key(source, self.call):
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


def attempt_key(source: SourceFile, call: Call) -> str:
    """The revision of a source and how it is read: a failed document is not tried again before either changes."""
    return f"{source.revision} {wanted_facets(call).get(DOCUMENTS, '')}"


def _name(source: SourceFile) -> str:
    return source.name


def _moves(listing: Listing, gone: int, comparison: _Comparison) -> Sequence[Rename]:
    """Documents that are found elsewhere with the same content; other new sources are to be processed."""
    moves = Spool[Rename]()
    for some in chunked(listing.new(), _MOVED_AT_ONCE):
        pairs: list[tuple[DocumentState, SourceFile]] = []
        for source in some:
            state = None
            if gone and not comparison.force and listing.may_be_moved(source):
                state = listing.take_moved(comparison.digest(source))
            if state is None:
                comparison.process.add(source)
            else:
                pairs.append((state, source))
        renames, again = renames_of(pairs, comparison.call.services["index_store"])
        for (state, source), move in zip(pairs, renames, strict=True):
            moves.add(move)
            stale = stale_facets(state.fingerprint, comparison.wanted, comparison.redo)
            if source.document_id in again or DOCUMENTS in stale:
                comparison.process.add(source)
            elif stale:
                comparison.refresh.add(source)
                comparison.stale |= stale
    return moves.finish()


def _check_share(vanished: int, below: int, listed: int, most: float, source: str) -> None:
    if not vanished:
        return
    if not listed or vanished > share_of(most, below):
        enough = min(1.0, -(-100 * vanished // below) / 100)
        raise FatalError(
            f"{vanished} of the {below} documents that the index has from {source} are no longer there, more than may "
            f"be removed at once (max_prune_share: {most:g}); nothing was changed. Is the folder mounted, the prefix "
            f"right? If they are really gone, run again with --max-prune-share {enough:g}"
        )


def _facets_to_redo(call: Call, force: bool, only_step: str | None) -> set[str]:
    if force:
        return set(FACETS)
    if not only_step:
        return set()
    found = facets_of_step(call, only_step)
    if not found:
        known = sorted({step for each in call.identity.effect_fingerprints.values() for step in each.steps})
        raise FatalError(
            f"only_step: no step that makes something stored is called {only_step!r} in this pipeline"
            f"{suggest(only_step, known)}"
        )
    return found


def _pages(store: IndexReader) -> Iterator[list[DocumentState]]:
    after = ""
    while page := store.document_states(after=after, limit=_PAGE):
        yield page
        after = page[-1].id
