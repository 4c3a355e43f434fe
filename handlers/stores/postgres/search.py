"""The two searches of the PostgreSQL index, computed in the database: BM25 from postings, neighbours by pgvector."""

import threading
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Connection,
    Double,
    bindparam,
    cast,
    column,
    exists,
    func,
    literal,
    select,
    text,
    true,
)
from sqlalchemy.dialects.postgresql import ARRAY, TEXT, aggregate_order_by

from handlers.records import stable_id
from handlers.stores.ranking import TermQuery, VectorQuery, bm25_idf, check_dimensions, choose_model
from handlers.stores.sql import (
    Limits,
    PostgresVector,
    among,
    changes_between,
    changes_number,
    in_view,
    permitted_documents,
    schema,
    view_of,
)
from handlers.tags import TagFilter

_MOST_DIMENSIONS = 2000
"""The most dimensions of an HNSW index on `vector`; longer vectors are compared exactly."""
_BREADTH = 1000
"""How many candidates a search in an HNSW index keeps (`ef_search`): pgvector's maximum.

For vectors of texts, 400 are enough to find the true first fifty among 30,000. For random vectors, the hardest case,
1000 find a share of 0.955 of them.
"""
_BUILDING = 0x4252414A

passages_, vectors_, postings_ = schema.passages, schema.vectors, schema.postings


_MOST_FILTERS = 32


class _Counted(NamedTuple):
    number: int
    """The number of the last change that is included."""
    passages: int
    terms: int


@dataclass
class Totals:
    """Number and mean length of the visible passages, and of those that a filter lets through.

    After changes of the index, the recorded differences are added; with a filter, the totals are counted again, since
    tags may have changed.
    """

    _lock: threading.Lock = field(default_factory=threading.Lock)
    _counted: dict[tuple[int, TagFilter | None], _Counted] = field(
        default_factory=dict["tuple[int, TagFilter | None]", _Counted]
    )

    def get(self, connection: Connection, where: TagFilter | None) -> tuple[int, float]:
        key, number = (view_of(connection).side, where), changes_number(connection)
        with self._lock:
            known = self._counted.get(key)
        if known is None or known.number != number:
            known = _count(connection, where, number, known)
            with self._lock:
                self._counted[key] = max(self._counted.pop(key, known), known)
                if len(self._counted) > _MOST_FILTERS:
                    self._counted.pop(next(iter(self._counted)))
        return known.passages, known.terms / known.passages if known.terms else 1.0


def _count(connection: Connection, where: TagFilter | None, number: int, known: _Counted | None) -> _Counted:
    changes = changes_between(connection, known.number, number) if known is not None and not where else None
    if known is not None and changes is not None:
        return _Counted(number, known.passages + changes.passages, known.terms + changes.terms)
    passages, terms = connection.execute(
        select(func.count(), func.coalesce(func.sum(passages_.c.length), 0)).where(
            in_view(connection), _permits(connection, where)
        )
    ).one()
    return _Counted(number, passages, terms)


def _permits(connection: Connection, where: TagFilter | None) -> ColumnElement[bool]:
    """Whether a passage is of a document that the filter lets through."""
    permitted = permitted_documents(connection, where)
    return true() if permitted is None else passages_.c.document.in_(permitted)


def match_terms(
    connection: Connection, query: TermQuery, top_k: int, limits: Limits, totals: Totals
) -> dict[int, float]:
    """BM25 scores of the best visible passages that the filter lets through, by passage key.

    Statistics are over all passages that it lets through. The operations come in the same order as in the SQLite index,
    so scores are the same numbers.
    """
    number, average = totals.get(connection, limits.where)
    if not query.weights or not number or top_k <= 0:
        return {}
    rows = connection.execute(
        select(postings_.c.term, func.count())
        .join(passages_, passages_.c.key == postings_.c.passage)
        .where(postings_.c.term.in_(sorted(query.weights)), in_view(connection), _permits(connection, limits.where))
        .group_by(postings_.c.term)
    )
    weights = {term: query.weights[term] * bm25_idf(number, containing) for term, containing in rows}
    if not weights:
        return {}
    given = (
        func.unnest(
            cast(bindparam("terms", list(weights), type_=ARRAY(TEXT)), ARRAY(TEXT)),
            cast(bindparam("weights", list(weights.values()), type_=ARRAY(Double)), ARRAY(Double)),
        )
        .table_valued(column("term", TEXT), column("weight", Double), name="given")
        .render_derived()
    )
    tally = cast(postings_.c.count, Double)
    k1, b = query.bm25.k1, query.bm25.b
    norm = _float(k1) * (_float(1 - b) + _float(b) * cast(passages_.c.length, Double) / _float(average))
    part = given.c.weight * tally * _float(k1 + 1) / (tally + norm)
    score = func.sum(aggregate_order_by(part, postings_.c.term)).label("score")
    scored = (
        select(passages_.c.key, score)
        .select_from(given)
        .join(postings_, postings_.c.term == given.c.term)
        .join(passages_, passages_.c.key == postings_.c.passage)
        .where(in_view(connection), *_conditions(connection, limits))
        .group_by(passages_.c.key)
        .cte("scored")
        .prefix_with("MATERIALIZED", dialect="postgresql")
    )
    # Ids decide between equal scores. They are read for the best only; an index has all else of a passage.
    highest = select(scored.c.score).order_by(scored.c.score.desc()).limit(top_k).subquery()
    best = (
        select(scored.c.key, scored.c.score)
        .join(passages_, passages_.c.key == scored.c.key)
        .where(scored.c.score >= select(func.min(highest.c.score)).scalar_subquery())
        .order_by(scored.c.score.desc(), passages_.c.id)
        .limit(top_k)
    )
    return {row.key: float(row.score) for row in connection.execute(best)}


def _conditions(connection: Connection, limits: Limits) -> list[ColumnElement[bool]]:
    """Whether a passage is within the limits of a search."""
    held = postings_.alias("held")  # as a separate query from the postings that a search adds up
    having = [
        exists().where(held.c.term == term, held.c.passage == passages_.c.key)
        for term in (*limits.words.every, *limits.words.none)
    ]
    every = len(limits.words.every)
    found = [*having[:every], *(~each for each in having[every:])]
    if limits.where is not None:
        found.append(_permits(connection, limits.where))
    if limits.passages is not None:
        found.append(among(connection, passages_.c.key, limits.passages))
    return found


def _float(value: float) -> Any:
    return cast(literal(value, Double), Double)


def nearest_vectors(
    connection: Connection, query: VectorQuery, top_k: int, limits: Limits, totals: Totals, *, hnsw_from: int
) -> dict[int, float]:
    """Inner products of the nearest visible passages, by passage key.

    If a filter permits fewer than `hnsw_from` vectors, these are compared one by one, which is exact, and faster than
    skipping excluded neighbours.
    """
    model = choose_model(_visible_models(connection), query.model)
    if model is None:
        return {}
    query = replace(query, model=model)
    check_dimensions(len(query.vector), _dimensions(connection, model))
    if top_k <= 0:
        return {}
    found: dict[int, float] = {}
    if (
        limits.passages is None
        and totals.get(connection, limits.where)[0] >= hnsw_from
        and _index_name(model, len(query.vector)) in _vector_indexes(connection)
    ):
        # Continue until enough permitted ones are found, so that a filter does not shorten the answer.
        connection.execute(
            text(
                "SELECT set_config('hnsw.iterative_scan', 'strict_order', true), "
                "set_config('hnsw.max_scan_tuples', '2147483647', true), set_config('hnsw.ef_search', :breadth, true)"
            ),
            {"breadth": str(_BREADTH)},
        )
        found = _nearest(connection, query, top_k, limits, indexed=True)
    if len(found) < top_k:
        # There is no index, or its scan stopped for lack of memory.
        found = _nearest(connection, query, top_k, limits, indexed=False)
    return found


def _nearest(
    connection: Connection, query: VectorQuery, top_k: int, limits: Limits, *, indexed: bool
) -> dict[int, float]:
    # The planner uses the index only for the same expression. Vectors have length 1, so inner products are cosines;
    # unlike the cosine operator, this one also ranks and indexes a vector of zeros.
    stored: Any = cast(vectors_.c.vector, PostgresVector(len(query.vector))) if indexed else vectors_.c.vector
    given = bindparam("query", query.vector, type_=vectors_.c.vector.type)
    distance = stored.op("<#>", return_type=Double())(given)
    model = vectors_.c.model == bindparam("model", query.model, literal_execute=True)
    nearest = (
        select(passages_.c.key, distance.label("distance"))
        .join(vectors_, vectors_.c.passage == passages_.c.key)
        .where(in_view(connection), model, *_conditions(connection, limits))
        .order_by(distance, passages_.c.id)
        .limit(top_k)
    )
    return {row.key: -float(row.distance) for row in connection.execute(nearest)}


def _visible_models(connection: Connection) -> list[str]:
    if model := view_of(connection).model:
        return [model] if _dimensions(connection, model) else []
    # One index lookup per model, where DISTINCT would read every row.
    found: list[str] = []
    after = ""
    while True:
        name = connection.execute(select(func.min(vectors_.c.model)).where(vectors_.c.model > after)).scalar()
        if name is None:
            return found
        after = name
        if _dimensions(connection, name):
            found.append(name)


def _dimensions(connection: Connection, model: str) -> int:
    """The dimensions of the model's visible vectors; 0 if there are none."""
    found = connection.execute(
        select(func.vector_dims(vectors_.c.vector))
        .join(passages_, passages_.c.key == vectors_.c.passage)
        .where(vectors_.c.model == model, in_view(connection))
        .limit(1)
    ).scalar()
    return int(found or 0)


def build_vector_indexes(connection: Connection, schema_name: str, *, at_least: int) -> None:
    """Build an HNSW index for every model with that many vectors, without blocking reads or writes."""
    highest = connection.execute(text("SELECT last_value FROM vectors_key_seq")).scalar_one()
    if highest < at_least:  # keys are never reused, so there are no more rows than that
        return
    models = {name: _dimensions(connection, name) for name in _visible_models(connection)}
    ready = _vector_indexes(connection)
    missing = {
        name: dimensions
        for name, dimensions in models.items()
        if 0 < dimensions <= _MOST_DIMENSIONS
        and _index_name(name, dimensions) not in ready
        and _has_vectors(connection, name, at_least)
    }
    connection.rollback()
    if not missing:
        return
    connection = connection.execution_options(isolation_level="AUTOCOMMIT")
    lock = {"kind": _BUILDING, "schema": schema_name}
    if not connection.execute(text("SELECT pg_try_advisory_lock(:kind, hashtext(:schema))"), lock).scalar_one():
        return  # another process is building it
    try:
        for name, dimensions in missing.items():
            index, model = _index_name(name, dimensions), name.replace("'", "''")
            connection.exec_driver_sql(f'DROP INDEX CONCURRENTLY IF EXISTS "{index}"')  # an unfinished index
            connection.exec_driver_sql(
                f'CREATE INDEX CONCURRENTLY "{index}" ON vectors USING hnsw '
                f"((vector::vector({dimensions})) vector_ip_ops) WHERE model = '{model}'".replace("%", "%%")
            )
    finally:
        connection.execute(text("SELECT pg_advisory_unlock(:kind, hashtext(:schema))"), lock)


def _has_vectors(connection: Connection, model: str, at_least: int) -> bool:
    some = select(vectors_.c.key).where(vectors_.c.model == model).limit(at_least)
    return connection.execute(select(func.count()).select_from(some.subquery())).scalar_one() >= at_least


def _index_name(model: str, dimensions: int) -> str:
    return f"vectors_hnsw_{stable_id(model)[:16]}_{dimensions}"


def _vector_indexes(connection: Connection) -> set[str]:
    return set(
        connection.scalars(
            text(
                "SELECT c.relname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid "
                "WHERE i.indrelid = 'vectors'::regclass AND i.indisvalid AND c.relname LIKE 'vectors\\_hnsw\\_%'"
            )
        )
    )
