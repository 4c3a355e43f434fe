"""The in-memory cache of the SQLite index for fast answers: passages, vectors and postings.

It follows the index: at each question, it applies the changes since the last one.
"""

import threading
from dataclasses import dataclass, field

import numpy as np
from sqlalchemy import Connection, func, select

from flows.state import chunked
from handlers.stores.ranking import Bm25, TermQuery, VectorQuery, bm25_idf, check_dimensions, choose_model, contenders
from handlers.stores.sql import (
    Limits,
    changes_between,
    changes_number,
    in_view,
    permitted_documents,
    schema,
    view_of,
)
from handlers.stores.sqlite.columns import as_numbers
from handlers.stores.sqlite.loading import LoadedVectors, read_vectors
from handlers.stores.sqlite.passages import Passages
from handlers.stores.sqlite.postings import PostingsCache
from handlers.tags import TagFilter

_MOST_FILTERS = 32
_MOST_VIEWS = 4
"""How many earlier states are kept, because older transactions may still see them."""
_MOST_HOLES = 0.25
_FEW_HOLES = 1000


@dataclass(frozen=True)
class _Scope:
    """The passages that a filter permits; statistics are computed over these only."""

    number: int
    chosen: np.ndarray
    """A mask over slots."""
    passages: int
    average: float
    norms: dict[Bm25, np.ndarray] = field(default_factory=dict[Bm25, np.ndarray])

    @classmethod
    def of(cls, passages: Passages, documents: np.ndarray | None) -> "_Scope":
        chosen = passages.alive
        if documents is not None:
            chosen = chosen & np.isin(passages.documents, documents)
        count = int(np.count_nonzero(chosen))
        terms = int(passages.lengths.sum(where=chosen))
        return cls(passages.number, chosen, count, terms / count if terms else 1.0)

    def norms_of(self, passages: Passages, bm25: Bm25) -> np.ndarray:
        """The length normalisation of each slot in BM25."""
        if bm25 not in self.norms:
            self.norms[bm25] = bm25.k1 * (1 - bm25.b + bm25.b * passages.lengths / self.average)
        return self.norms[bm25]


@dataclass
class _Kept:
    """The cached data that share one numbering of slots."""

    views: dict[int, Passages]
    """The passages by number of changes, newest last."""
    vectors: dict[str, LoadedVectors] = field(default_factory=dict[str, LoadedVectors])
    postings: PostingsCache = field(default_factory=PostingsCache)
    scopes: dict[TagFilter | None, _Scope] = field(default_factory=dict["TagFilter | None", _Scope])
    models: tuple[int, tuple[str, ...]] = (-1, ())

    @property
    def newest(self) -> Passages:
        return self.views[max(self.views)]


@dataclass
class Snapshot:
    """Answers from the cache, always for the state that the connection sees.

    Vectors are scanned by matrix products of their eight-bit codes. Vectors that may be among the nearest are then
    compared exactly, so the answer equals an exact comparison of all.
    """

    _lock: threading.Lock = field(default_factory=threading.Lock)
    _kept: _Kept | None = None

    def nearest(self, connection: Connection, query: VectorQuery, top_k: int, limits: Limits) -> dict[int, float]:
        """Inner products of the nearest visible passages within the limits, by passage key."""
        with self._lock:
            kept, passages = self._refresh(connection)
            if kept.models[0] != passages.number:
                kept.models = (passages.number, _visible_models(connection))
            model = choose_model(kept.models[1], query.model)
            if model is None:
                return {}
            if model not in kept.vectors:
                kept.vectors = {model: LoadedVectors(model)}  # vectors of other models are dropped to save memory
            vectors = kept.vectors[model]
            vectors.load(connection, passages)
            scope = _scope(connection, kept, passages, limits.where)
        check_dimensions(len(query.vector), vectors.dimensions)
        chosen = vectors.present[: passages.size] & scope.chosen
        chosen = _within(connection, kept, passages, chosen, limits)
        slots = vectors.codes.nearest(query.vector, chosen, top_k) if vectors.codes else np.arange(0)
        keys = passages.keys[slots]
        return _best(connection, keys, _products(connection, model, keys, query.vector), top_k)

    def matching(self, connection: Connection, query: TermQuery, top_k: int, limits: Limits) -> dict[int, float]:
        """BM25 scores of the best visible passages within the limits, by passage key.

        Statistics are over all passages that the filter lets through.
        """
        with self._lock:
            kept, passages = self._refresh(connection)
            scope = _scope(connection, kept, passages, limits.where)
            norms = scope.norms_of(passages, query.bm25)
        if not scope.passages or not query.weights:
            return {}
        chosen = _within(connection, kept, passages, scope.chosen, limits)
        few = None if limits.passages is None else np.flatnonzero(chosen)
        terms, k1 = sorted(query.weights), query.bm25.k1
        totals = np.zeros(passages.size)
        found = kept.postings.get(connection, passages, terms)
        for term in terms:
            slots, tallies = found[term].slots, found[term].tallies
            permitted = scope.chosen[slots]
            count = int(np.count_nonzero(permitted))
            if few is not None:
                at = np.searchsorted(slots, few)
                at = at[at < len(slots)]
                at = at[np.isin(slots[at], few)]
                slots, tallies = slots[at], tallies[at]
            elif count < len(slots):
                slots, tallies = slots[permitted], tallies[permitted]
            idf = bm25_idf(scope.passages, count)
            totals[slots] += query.weights[term] * idf * tallies * (k1 + 1) / (tallies + norms[slots])
        best = np.flatnonzero(totals) if chosen is scope.chosen else np.flatnonzero((totals != 0) & chosen)
        return _best(connection, passages.keys[best], totals[best], top_k)

    def _refresh(self, connection: Connection) -> tuple[_Kept, Passages]:
        """Update the cache; return it with the passages that the connection sees."""
        number, kept = changes_number(connection), self._kept
        if kept is not None and number in kept.views:
            return kept, kept.views[number]
        changes = None
        if kept is not None and number > kept.newest.number:
            changes = changes_between(connection, kept.newest.number, number)
        if kept is None or changes is None:
            made = _Kept({number: Passages.read(connection, number)})
            if kept is None or number > kept.newest.number:
                self._kept = made
            return made, made.newest
        newest = kept.newest.after(connection, number, changes)
        if newest.holes > max(_FEW_HOLES, _MOST_HOLES * newest.size):
            slots, newest = newest.ascending, newest.compacted()
            vectors = {name: each.compacted(slots) for name, each in kept.vectors.items()}
            self._kept = kept = _Kept({}, vectors)
        kept.views[number] = newest
        if len(kept.views) > _MOST_VIEWS:
            del kept.views[min(kept.views)]
        return kept, newest


def _scope(connection: Connection, kept: _Kept, passages: Passages, where: TagFilter | None) -> _Scope:
    known = kept.scopes.pop(where, None)
    if known is None or known.number != passages.number:
        selected, documents = permitted_documents(connection, where), None
        if selected is not None:
            keys = selected.subquery()
            documents = as_numbers(connection.scalar(select(func.group_concat(keys.c.key))))
        known = _Scope.of(passages, documents)
    kept.scopes[where] = known  # the one that was asked for last is at the end
    if len(kept.scopes) > _MOST_FILTERS:
        del kept.scopes[next(iter(kept.scopes))]
    return known


def _within(connection: Connection, kept: _Kept, passages: Passages, chosen: np.ndarray, limits: Limits) -> np.ndarray:
    """The chosen slots (a mask) that are within the limits, apart from the filter."""
    every, none = limits.words.every, limits.words.none
    masks: list[np.ndarray] = []
    if limits.passages is not None:
        slots, _ = passages.find(np.array(limits.passages, dtype=np.int64))
        masks.append(_mask(passages, slots))
    if every or none:
        found = kept.postings.get(connection, passages, sorted({*every, *none}))
        masks += [_mask(passages, found[term].slots) for term in every]
        masks += [~_mask(passages, found[term].slots) for term in none]
    return np.logical_and.reduce([chosen, *masks]) if masks else chosen


def _mask(passages: Passages, slots: np.ndarray) -> np.ndarray:
    mask = np.zeros(passages.size, dtype=bool)
    mask[slots] = True
    return mask


def _products(connection: Connection, model: str, keys: np.ndarray, vector: np.ndarray) -> np.ndarray:
    """The exact products of the vectors of passages, in the order of these."""
    products = np.zeros(len(keys), dtype=np.float32)
    order = np.argsort(keys)
    for owners, rows in read_vectors(connection, model, keys):
        # Row by row, so that equal vectors always have equal products, independent of the other rows.
        products[order[np.searchsorted(keys, owners, sorter=order)]] = np.vecdot(rows, vector)
    return products


def _best(connection: Connection, keys: np.ndarray, scores: np.ndarray, top_k: int) -> dict[int, float]:
    """The greatest scores by passage key; ties for the last ranks are decided by chunk id.

    Keys depend on the order of storing, ids do not, so a changed index gives the same answers as a new one.
    """
    positions = contenders(scores, top_k)
    if len(positions) > top_k:
        worst = scores[positions].min()
        tied = positions[scores[positions] == worst]
        better = positions[scores[positions] > worst]
        ids: list[tuple[str, int]] = []
        for some in chunked(keys[tied].tolist()):
            rows = connection.execute(
                select(schema.passages.c.id, schema.passages.c.key).where(schema.passages.c.key.in_(some))
            )
            ids += [(row.id, row.key) for row in rows]
        chosen = {key for _, key in sorted(ids)[: top_k - len(better)]}
        positions = np.concatenate([better, tied[np.isin(keys[tied], list(chosen))]])
    return {int(keys[position]): float(scores[position]) for position in positions}


def _visible_models(connection: Connection) -> tuple[str, ...]:
    vectors, passages, own = schema.vectors, schema.passages, view_of(connection).model
    found: list[str] = []
    name = connection.scalar(select(func.min(vectors.c.model)))
    while name is not None:  # one look into the index per model, where DISTINCT would read every row
        of_model = select(vectors.c.key).join(passages, passages.c.key == vectors.c.passage)
        if connection.scalar(of_model.where(vectors.c.model == name, in_view(connection)).limit(1)) is not None:
            found += [name] if own in ("", name) else []
        name = connection.scalar(select(func.min(vectors.c.model)).where(vectors.c.model > name))
    return tuple(found)
