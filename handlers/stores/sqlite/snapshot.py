"""Arrays of the SQLite index in the memory of a process, for quick answers: passage lengths and vectors."""

import threading
from dataclasses import dataclass, field

import numpy as np
from sqlalchemy import Connection, LargeBinary, select, type_coerce

from flows.state import chunked
from handlers.stores.ranking import TermQuery, VectorQuery, bm25_idf, check_dimensions, choose_model, contenders
from handlers.stores.sql import schema


@dataclass(frozen=True)
class _Passages:
    """The visible passages, ascending by key; `documents` and `lengths` go with `keys`."""

    keys: np.ndarray
    documents: np.ndarray
    lengths: np.ndarray

    def of(self, documents: np.ndarray) -> "_Passages":
        """Those of these documents."""
        chosen = np.isin(self.documents, documents)
        return _Passages(self.keys[chosen], self.documents[chosen], self.lengths[chosen])

    def positions(self, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The positions of these keys, and which of the keys are there at all."""
        at = np.searchsorted(self.keys, keys)
        at[at == len(self.keys)] = 0
        there = self.keys[at] == keys if len(self.keys) else np.zeros(len(keys), dtype=bool)
        return at, there


@dataclass(frozen=True)
class _Vectors:
    """Visible vectors of one model: row i of `matrix` is vector row `rows[i]`, of passage `passages[i]`."""

    rows: np.ndarray
    passages: np.ndarray
    documents: np.ndarray
    matrix: np.ndarray


@dataclass
class Snapshot:
    """Arrays of the passages visible at one value of the `data` counter, read anew when it has moved on.

    Vectors are scanned exactly by one matrix product: 1 ms for 10,000 of 384 dimensions. Vector rows never change
    under their key, so after a change only new ones are read.
    """

    _lock: threading.Lock = field(default_factory=threading.Lock)
    _version: int = -1
    _passages: _Passages | None = None
    _vectors: dict[str, _Vectors] = field(default_factory=dict)
    _current: set[str] = field(default_factory=set)
    _models: tuple[str, ...] | None = None

    def nearest(self, connection: Connection, query: VectorQuery, documents: np.ndarray | None) -> dict[int, float]:
        """Inner products of the nearest visible passages, of `documents` if given, by passage key."""
        chosen = self._load_vectors(connection, query.model)
        if chosen is None:
            return {}
        check_dimensions(len(query.vector), chosen.matrix.shape[1])
        scores, keys = chosen.matrix @ query.vector, chosen.passages
        if documents is not None:
            mask = np.isin(chosen.documents, documents)
            scores, keys = scores[mask], keys[mask]
        return _best(connection, keys, scores, query.top_k)

    def matching(self, connection: Connection, query: TermQuery, documents: np.ndarray | None) -> dict[int, float]:
        """BM25 scores of the best visible passages, of `documents` if given, by passage key.

        Statistics are over the same passages.
        """
        passages = self._load_passages(connection)
        if documents is not None:
            passages = passages.of(documents)
        if not len(passages.keys) or not query.weights:
            return {}
        average = float(passages.lengths.mean()) or 1.0
        k1, b = query.bm25.k1, query.bm25.b
        norms = k1 * (1 - b + b * passages.lengths / average)
        totals = np.zeros(len(passages.keys))
        for term, keys, tallies in _postings(connection, sorted(query.weights)):
            at, there = passages.positions(keys)
            at, tallies = at[there], tallies[there]
            if len(at):
                idf = bm25_idf(len(passages.keys), len(at))
                totals[at] += query.weights[term] * idf * tallies * (k1 + 1) / (tallies + norms[at])
        found = np.flatnonzero(totals)
        keys, scores = passages.keys[found], totals[found]
        return _best(connection, keys, scores, query.top_k)

    def _load_passages(self, connection: Connection) -> _Passages:
        with self._lock:
            return self._refresh(connection)

    def _refresh(self, connection: Connection) -> _Passages:
        counters, table = schema.counters, schema.passages
        version = connection.execute(select(counters.c.value).where(counters.c.name == "data")).scalar() or 0
        if self._passages is None or version != self._version:
            rows = connection.execute(
                select(table.c.key, table.c.document, table.c.length).where(table.c.visible).order_by(table.c.key)
            ).all()
            columns = np.array([(row[0], row[1], row[2] or 0) for row in rows], dtype=np.int64).reshape(-1, 3)
            keys, documents, lengths = (np.ascontiguousarray(column) for column in columns.T)
            self._passages, self._version = _Passages(keys, documents, lengths), version
            self._current, self._models = set(), None
        return self._passages

    def _load_vectors(self, connection: Connection, model: str | None) -> _Vectors | None:
        with self._lock:
            passages = self._refresh(connection)
            if self._models is None:
                self._models = _visible_models(connection)
            name = choose_model(self._models, model)
            if name is None:
                return None
            if name not in self._current:
                self._vectors = {name: _read_vectors(connection, name, passages, self._vectors.get(name))}
                self._current = {name}
            return self._vectors[name]


def _best(connection: Connection, keys: np.ndarray, scores: np.ndarray, top_k: int) -> dict[int, float]:
    """The greatest scores by passage key; of those that tie for the last ranks, the ones with the first chunk ids.

    Keys depend on when a passage was stored, ids do not: so an index that was changed answers as a new one does.
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
    vectors, passages = schema.vectors, schema.passages
    visible = select(passages.c.key).where(passages.c.visible, passages.c.key == vectors.c.passage)
    return tuple(sorted(connection.scalars(select(vectors.c.model).where(visible.exists()).distinct())))


def _read_vectors(connection: Connection, model: str, passages: _Passages, before: _Vectors | None) -> _Vectors:
    table = schema.vectors
    listed = connection.execute(select(table.c.key, table.c.passage).where(table.c.model == model)).all()
    pairs = np.array([tuple(row) for row in listed], dtype=np.int64).reshape(-1, 2)
    at, there = passages.positions(pairs[:, 1])
    pairs, at = pairs[there], at[there]
    order = np.argsort(pairs[:, 0])
    rows, owners, documents = pairs[order, 0], pairs[order, 1], passages.documents[at[order]]
    old = np.isin(rows, before.rows) if before is not None else np.zeros(len(rows), dtype=bool)
    fresh: list[bytes] = []
    for some in chunked(rows[~old].tolist()):
        fresh += connection.scalars(
            select(type_coerce(table.c.vector, LargeBinary)).where(table.c.key.in_(some)).order_by(table.c.key)
        )
    new = np.frombuffer(b"".join(fresh), dtype="<f4").reshape(len(fresh), -1) if fresh else None
    if before is None or not old.any():
        matrix = new if new is not None else np.zeros((0, 0), dtype=np.float32)
        return _Vectors(rows, owners, documents, matrix)
    matrix = np.empty((len(rows), before.matrix.shape[1]), dtype=np.float32)
    matrix[old] = before.matrix[np.searchsorted(before.rows, rows[old])]
    if new is not None:
        matrix[~old] = new
    return _Vectors(rows, owners, documents, matrix)


def _postings(connection: Connection, terms: list[str]) -> "list[tuple[str, np.ndarray, np.ndarray]]":
    # One text per term, parsed by numpy, is eight times as fast as one row per posting (84,000 postings in 40 ms).
    found: list[tuple[str, np.ndarray, np.ndarray]] = []
    for some in chunked(terms):
        marks = ",".join("?" * len(some))
        rows = connection.exec_driver_sql(
            "SELECT term, group_concat(passage), group_concat(count) FROM postings "
            f"WHERE term IN ({marks}) GROUP BY term ORDER BY term",
            tuple(some),
        )
        found += [
            (term, np.fromstring(keys, dtype=np.int64, sep=","), np.fromstring(tallies, dtype=np.int64, sep=","))
            for term, keys, tallies in rows
        ]
    return found
