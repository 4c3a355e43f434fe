"""`find_changes`: the difference between a listing and the index, so that unchanged documents are skipped.

A document is unchanged if its listing is (`SourceFile.revision`), else if the hash of its content is. The index records
per facet how it was made (`handlers.ingestion.facets`). If only vectors, terms or facts are made differently now, they
are remade from the stored passages, without reading the file.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from flows.author import Call, handler
from flows.errors import FatalError, suggest
from flows.model import share_of
from flows.state import DiskSequence, Spool, chunked
from flows.storage import canonical_uri, glob_filter, path_below
from handlers.extraction import split_member
from handlers.ingestion.batching import Batching, make_batches
from handlers.ingestion.comparison import Comparison
from handlers.ingestion.document_names import DocumentNames
from handlers.ingestion.facets import FACETS, facets_of_step, wanted_facets
from handlers.ingestion.listing import Listing
from handlers.ingestion.moves import renames_of
from handlers.options import Options, spread
from handlers.records import SourceFile, document_id_of
from handlers.sources import HIDDEN, Coverage, canonical_place, is_manifest
from handlers.stores import DocumentPlace, DocumentState, IndexStore, IndexVersions, Rename, format_facets

_PAGE = 500
_MOVED_AT_ONCE = 100


@dataclass(frozen=True)
class Pruning(Options):
    """The documents that a listing covers (missing ones are gone), and whether gone documents are removed."""

    pattern: str = "**/*"
    exclude: Sequence[str] = HIDDEN
    prune: bool = False
    max_prune_share: float = 0.2


@handler(
    writes=(
        *("batches", "refreshes", "restatements", "moves", "names", "vanished", "redo", "stale", "changes"),
        *("source_uri", "left_out"),
    ),
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

    `batches` are sources to be processed (see `make_batches`). `refreshes` are batches of sources whose stored passages
    need new vectors, terms or facts, and `stale` names these facets. `restatements`, `moves` and `names` change
    documents without processing them; documents of earlier releases get their new ids as if they had moved. `vanished`
    are ids of documents to be removed: with `prune`, those of `source` that are no longer there, but for documents of
    a source inside it; in any case, those that could never be read and are gone, or that another document has taken
    the place of. `redo` names facets that are
    made again even if they are stored. `changes` has counts: each listed file is one of `unchanged`, `process`,
    `refresh` and `quarantined`; `changed` are those of `process` that the index has an earlier version of.
    `left_out` counts the objects that the source leaves out, by rule; `source_uri` is its canonical URI. `force`
    processes everything; `only_step` makes only the facets again that the step's work goes into.

    Raises:
        FatalError: `prune` would remove more than `max_prune_share` of the documents of `source`; or no step is
            called `only_step`.
    """
    redo = _facets_to_redo(call, force, only_step)
    store: IndexVersions = call.services["index_store"]
    store.note_way(format_facets(wanted_facets(call)))  # if the model differs, another version of the index begins here
    changes = _Changes(sources, _Place(source, pruning, call), Comparison(call, redo, force, retry_failed), call)
    changes.compare_all()
    if pruning.prune:
        _check_share(changes.vanished, changes.below, len(sources), pruning.max_prune_share, source)
    found, comparison = changes.listing, changes.comparison
    process, refresh = comparison.process.finish(), comparison.refresh.finish()
    restate, names = comparison.restate.finish(), changes.new_names.finish()
    counts = {
        "listed": len(sources),
        "unchanged": comparison.unchanged,
        "process": len(process),
        "changed": comparison.changed,
        "refresh": len(refresh),
        "quarantined": comparison.quarantined,
        "restate": len(restate),
        "move": changes.moved,
        "adopt": changes.adopted,
        "name": len(names),
        "vanished": changes.vanished,
        "removed": changes.vanished if pruning.prune else 0,
        "kept": changes.of_others,
    }
    call.logger.info("index %s: %s", call.index, ", ".join(f"{count} {name}" for name, count in counts.items()))
    return {
        "batches": make_batches(process, batching),
        "refreshes": make_batches(refresh, batching.times(4)),
        "restatements": restate,
        "moves": changes.moves.finish(),
        "names": names,
        "vanished": DiskSequence(found.to_remove(vanished=pruning.prune)),
        "redo": tuple(sorted(redo)),
        "stale": tuple(sorted(comparison.stale)),
        "changes": counts,
        "source_uri": changes.place.root or source,
        "left_out": dict(changes.left_out),
    }


class _Place:
    """The documents of the index that a listing covers; one that the listing lacks is gone."""

    def __init__(self, source: str, pruning: Pruning, call: Call) -> None:
        self.root = canonical_place(source) if source and not is_manifest(source) else ""
        store: IndexStore = call.services["index_store"]
        self.records = store.sources() if self.root else []
        self._coverage = Coverage(self.records)
        self._included = glob_filter(pruning.pattern)
        self._excluded = [glob_filter(glob) for glob in pruning.exclude]
        self._has_inner = any(each.is_folder and path_below(self.root, each.uri) for each in self.records)
        self.pattern = pruning.pattern

    def holds(self, uri: str) -> bool:
        stored, path = split_member(uri)
        if path and stored == self.root:
            return True
        name = path_below(self.root, stored) if self.root else None
        return name is not None and self._included(name) and not any(matches(name) for matches in self._excluded)

    def is_of_another(self, uri: str) -> bool:
        """Whether a covered document belongs to a source inside this one."""
        return self._has_inner and self._coverage.is_inner(self.root, uri)


class _Changes:
    """Compares the documents of the index with the listing, then handles new files."""

    def __init__(self, sources: Sequence[SourceFile], place: _Place, comparison: Comparison, call: Call) -> None:
        self.store: IndexStore = call.services["index_store"]
        self.place, self.comparison, self.call = place, comparison, call
        # A manifest already contains the names.
        self._names = DocumentNames(place.records, sources, self.store) if place.root else None
        self.listing = Listing(sources if self._names is None else self._names.rename(sources))
        self.left_out = Counter[str]()
        self.listing.leave_out(self._left_out())
        self.moves = Spool[Rename]()
        self.new_names = Spool[tuple[str, str]]()
        self.below = self.gone = self.of_others = self.moved = self.adopted = 0

    @property
    def vanished(self) -> int:
        return self.gone - self.moved

    def compare_all(self) -> None:
        for page in _pages(self.store):
            self.call.check_cancelled()
            self._compare(page)
        self._find_moves()

    def _compare(self, page: Sequence[DocumentState]) -> None:
        keys = {state.id: document_id_of(state.uri) if state.uri else state.id for state in page}
        here = self.listing.meet(list(dict.fromkeys(keys.values())))
        older: list[tuple[DocumentState, SourceFile]] = []
        missing: list[DocumentState] = []
        names = self._names_of(page, here, keys)
        for state in page:
            source = here.get(keys[state.id])
            uri = canonical_uri(state.uri)
            holds = self.place.holds(uri)
            is_of_another = holds and self.place.is_of_another(uri)
            self.below += holds and not is_of_another
            if source is not None and keys[state.id] != state.id:
                older.append((state, source))
                continue
            if names[state.id] != state.name:
                self.new_names.add((state.id, names[state.id]))
            if source is not None:
                self.comparison.compare(state, source)
            elif holds and not self.listing.is_left_out(uri):
                self.of_others += is_of_another
                if not is_of_another and not state.content_sha256:
                    self.listing.supersede(state.id)  # it could never be read, and the index has no content of it
                elif not is_of_another:
                    missing.append(state)
        self.listing.miss(missing)
        self.gone += len(missing)
        self._adopt(older)

    def _names_of(
        self, page: Sequence[DocumentState], here: Mapping[str, SourceFile], keys: Mapping[str, str]
    ) -> dict[str, str]:
        if self._names is not None:
            return self._names.of([DocumentPlace(state.id, state.name, state.uri) for state in page])
        return {state.id: here[keys[state.id]].name if keys[state.id] in here else state.name for state in page}

    def _adopt(self, older: Sequence[tuple[DocumentState, SourceFile]]) -> None:
        """Move documents of earlier releases, whose ids came from their names, to the ids of their URIs."""
        if not older:
            return
        known = self.store.known([source.document_id for _, source in older])
        pairs: list[tuple[DocumentState, SourceFile]] = []
        for state, source in older:
            row = known.get(source.document_id)
            first = self.listing.adopt(source.document_id)
            if first and state.content_sha256 and not (row is not None and row.searchable):
                pairs.append((state, source))
                continue
            self.listing.supersede(state.id)
            if row is None and first:
                self.comparison.process.add(source)  # it has never been readable
        for state, source, move, is_whole in self._renames(pairs):
            unchanged = self.comparison.is_unchanged(state, source)
            self.moves.add(move if unchanged else replace(move, revision=state.revision))
            self.comparison.take_over(state, source, is_whole=is_whole and unchanged)
            self.adopted += 1

    def _left_out(self) -> Iterator[str]:
        """The canonical URIs of objects that the source leaves out; those of folders end with a slash."""
        place, offset = self.place, 0
        while place.root and (page := self.store.left_out(place.root, place.pattern, limit=_PAGE, offset=offset)):
            for each in page:
                self.left_out[each.rule] += 1
                yield canonical_uri(each.uri) + "/" * each.name.endswith("/")
            offset += len(page)

    def _find_moves(self) -> None:
        """Find documents that moved (a new file has the same content); other new files are to be processed."""
        for some in chunked(self.listing.new(), _MOVED_AT_ONCE):
            pairs: list[tuple[DocumentState, SourceFile]] = []
            for source in some:
                state = None
                if self.gone and not self.comparison.force and self.listing.may_be_moved(source):
                    state = self.listing.take_moved(self.comparison.digest(source))
                if state is None:
                    self.comparison.process.add(source)
                else:
                    pairs.append((state, source))
            for state, source, move, is_whole in self._renames(pairs):
                self.moves.add(move)
                self.comparison.take_over(state, source, is_whole=is_whole)
                self.moved += 1

    def _renames(
        self, pairs: Sequence[tuple[DocumentState, SourceFile]]
    ) -> Iterator[tuple[DocumentState, SourceFile, Rename, bool]]:
        renames, again = renames_of(pairs, self.store)
        for (state, source), move in zip(pairs, renames, strict=True):
            yield state, source, move, source.document_id not in again


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
            f"only_step: no step whose result is stored is named {only_step!r} in this pipeline"
            f"{suggest(only_step, known)}"
        )
    return found


def _pages(store: IndexStore) -> Iterator[list[DocumentState]]:
    after = ""
    while page := store.document_states(after=after, limit=_PAGE):
        yield page
        after = page[-1].id
