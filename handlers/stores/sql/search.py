"""The part of searching that all SQL databases share: filters of documents, and hits."""

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from sqlalchemy import ColumnElement, Connection, Select, and_, exists, func, select

from flows.state import chunked
from handlers.records import Hit
from handlers.stores.keys import stored_term
from handlers.stores.ranking import ANY, BM25, Bm25, TermQuery, TokenQuery, VectorQuery, Words
from handlers.stores.sql import schema
from handlers.stores.sql.dialects import among, given_texts
from handlers.stores.sql.transactions import Transactions
from handlers.stores.sql.views import found_in_view, in_view, published
from handlers.tags import TagFilter
from handlers.text import contains
from handlers.token_vectors import late_interaction

documents_, passages_, chunks_ = schema.documents, schema.passages, schema.chunks


@dataclass(frozen=True)
class Limits:
    """The visible passages to which a search is limited."""

    where: TagFilter | None = None
    words: Words = ANY
    passages: Sequence[int] | None = None
    """Keys."""


class SqlSearch(Transactions):
    """`IndexSearch` without the graph; each database scores passages in its own way."""

    @abstractmethod
    def _nearest(self, connection: Connection, query: VectorQuery, top_k: int, limits: Limits) -> dict[int, float]:
        """Inner products of the nearest visible passages, by passage key."""

    @abstractmethod
    def _matching(self, connection: Connection, query: TermQuery, top_k: int, limits: Limits) -> dict[int, float]:
        """BM25 scores of the best visible passages, by passage key; statistics are over all that the filter permits."""

    def search_vectors(
        self,
        vector: np.ndarray,
        *,
        top_k: int = 50,
        model: str | None = None,
        where: TagFilter | None = None,
        words: Words = ANY,
        with_text: bool = True,
    ) -> list[Hit]:
        limits = Limits(where or None, _stored_words(words))
        with self._read() as connection:
            scores = self._nearest(connection, _flat(VectorQuery(vector, model)), top_k, limits)
            return _hits(connection, scores, passages_.c.key, found_by="vector", with_text=with_text)

    def search_terms(
        self,
        counts: Mapping[str, float],
        *,
        top_k: int = 50,
        bm25: Bm25 = BM25,
        where: TagFilter | None = None,
        words: Words = ANY,
        with_text: bool = True,
    ) -> list[Hit]:
        limits = Limits(where or None, _stored_words(words))
        with self._read() as connection:
            scores = self._matching(connection, _as_stored(TermQuery(counts, bm25)), top_k, limits)
            return _hits(connection, scores, passages_.c.key, found_by="keyword", with_text=with_text)

    def scores(
        self, chunk_ids: Iterable[str], query: VectorQuery | TermQuery | TokenQuery, *, where: TagFilter | None = None
    ) -> dict[str, float]:
        with self._read() as connection:
            permitted = permitted_documents(connection, where)
            ids = {key: id_ for id_, key in _visible_keys(connection, list(dict.fromkeys(chunk_ids)), permitted)}
            limits = Limits(where or None, passages=sorted(ids))
            if not ids:
                return {}
            if isinstance(query, TokenQuery):
                found = _compared(connection, query, sorted(ids))
            elif isinstance(query, VectorQuery):
                found = self._nearest(connection, _flat(query), len(ids), limits)
            else:
                found = self._matching(connection, _as_stored(query), len(ids), limits)
            return {ids[key]: score for key, score in found.items()}

    def having(
        self, chunk_ids: Iterable[str], terms: Iterable[str], *, where: TagFilter | None = None
    ) -> dict[str, set[str]]:
        wanted = {term: stored_term(term) for term in terms}
        found = {stored: set[str]() for stored in wanted.values()}
        postings = schema.postings
        with self._read() as connection:
            permitted = permitted_documents(connection, where)
            ids = {key: id_ for id_, key in _visible_keys(connection, list(dict.fromkeys(chunk_ids)), permitted)}
            for some in chunked(ids) if found else ():
                rows = connection.execute(
                    select(postings.c.term, postings.c.passage).where(
                        among(connection, postings.c.term, list(found)), among(connection, postings.c.passage, some)
                    )
                )
                for row in rows:
                    found[row.term].add(ids[row.passage])
        return {term: set(found[stored]) for term, stored in wanted.items()}

    def occurring(self, terms: Iterable[str], *, where: TagFilter | None = None) -> set[str]:
        wanted = {stored_term(term): term for term in terms}
        postings = schema.postings
        if not wanted:
            return set()
        with self._read() as connection:
            permitted = permitted_documents(connection, where)
            given = given_texts(connection, wanted)
            having = exists().where(
                postings.c.term == given,
                postings.c.passage == passages_.c.key,
                in_view(connection),
                *(() if permitted is None else (passages_.c.document.in_(permitted),)),
            )
            return {wanted[term] for term in connection.scalars(select(given).where(having)) if term in wanted}

    def terms_from(self, prefix: str, *, limit: int = 100_000) -> list[str]:
        column = schema.postings.c.term
        found: list[str] = []
        with self._read() as connection:
            # One index lookup per term, where DISTINCT would read every posting.
            first = select(func.min(column).label("term")).where(column >= prefix, column < _after(prefix))
            terms = first.cte("terms", recursive=True)
            following = (
                select(func.min(column))
                .where(column > terms.c.term, column < _after(prefix))
                .correlate(terms)
                .scalar_subquery()
            )
            terms = terms.union_all(select(following).where(terms.c.term.is_not(None)))
            query = select(terms.c.term).where(terms.c.term.is_not(None)).limit(limit)
            found += connection.scalars(query)
        return sorted(found)

    def containing(self, phrase: str, *, top_k: int = 50, where: TagFilter | None = None) -> list[str]:
        found: list[str] = []
        with self._read() as connection:
            permitted = permitted_documents(connection, where)
            query = select(passages_.c.id, passages_.c.text).where(in_view(connection)).order_by(passages_.c.id)
            if permitted is not None:
                query = query.where(passages_.c.document.in_(permitted))
            for row in connection.execution_options(yield_per=500).execute(query):
                if contains(row.text, phrase):
                    found.append(row.id)
                if len(found) >= top_k:
                    break
        return found[:top_k]

    def tag_values(self, name: str, *, where: TagFilter | None = None) -> list[str]:
        tags = schema.tags
        with self._read() as connection:
            permitted = permitted_documents(connection, where)
            visible = select(published(connection)).select_from(documents_)
            if permitted is not None:
                visible = visible.where(documents_.c.key.in_(permitted))
            query = select(tags.c.value).where(tags.c.name == name, tags.c.version.in_(visible)).distinct()
            return sorted(connection.scalars(query))

    def hits(self, scores: Mapping[str, float], *, found_by: str, where: TagFilter | None = None) -> list[Hit]:
        with self._read() as connection:
            permitted = permitted_documents(connection, where)
            return _hits(connection, scores, passages_.c.id, found_by=found_by, permitted=permitted)


def _compared(connection: Connection, query: TokenQuery, passages: Sequence[int]) -> dict[int, float]:
    """How well passages answer a question token by token, by passage key; none for those without token vectors."""
    tokens, vectors = schema.token_vectors, schema.vectors
    packed: dict[int, bytes] = {}
    for some in chunked(passages):
        rows = connection.execute(
            select(vectors.c.passage, tokens.c.packed)
            .join(tokens, tokens.c.vector == vectors.c.key)
            .where(among(connection, vectors.c.passage, some), vectors.c.model == query.model)
        )
        packed.update((row.passage, row.packed) for row in rows)
    scores = zip(packed, late_interaction(query.tokens, list(packed.values())), strict=True)
    return {key: score for key, score in scores if score is not None}


def _flat(query: VectorQuery) -> VectorQuery:
    return replace(query, vector=np.ascontiguousarray(query.vector, dtype=np.float32).reshape(-1))


def _as_stored(query: TermQuery) -> TermQuery:
    return replace(query, weights={stored_term(term): weight for term, weight in query.weights.items()})


def _stored_words(words: Words) -> Words:
    return Words(tuple(map(stored_term, words.every)), tuple(map(stored_term, words.none)))


def _after(prefix: str) -> str:
    """A text that sorts after all texts with the prefix."""
    return f"{prefix}\U0010ffff"


def _visible_keys(
    connection: Connection, chunk_ids: Sequence[str], permitted: Select[Any] | None
) -> list[tuple[str, int]]:
    found: list[tuple[str, int]] = []
    for some in chunked(chunk_ids):
        query = select(passages_.c.id, passages_.c.key).where(
            among(connection, passages_.c.id, some), found_in_view(connection)
        )
        if permitted is not None:
            query = query.where(passages_.c.document.in_(permitted))
        found += [(row.id, row.key) for row in connection.execute(query)]
    return found


def permitted_documents(connection: Connection, where: TagFilter | None) -> Select[Any] | None:
    """A query for the keys of the visible documents that a filter permits; `None` without a filter."""
    if not where:
        return None
    tags = schema.tags
    query = select(documents_.c.key)
    for name, values in where.wanted:
        matching = select(tags.c.version).where(tags.c.name == name, tags.c.value.in_(values))
        query = query.where(published(connection).in_(matching))
    return query


def _hits(
    connection: Connection,
    scores: Mapping[Any, float],
    column: ColumnElement[Any],
    *,
    found_by: str,
    permitted: Select[Any] | None = None,
    with_text: bool = True,
) -> list[Hit]:
    """Hits of the visible and permitted passages with these values of a column (score by value), best first; ties by
    chunk id.
    """
    found: list[Hit] = []
    for some in chunked(scores):
        query = (
            select(column.label("given"), passages_.c.id, documents_.c.id.label("document_id"))
            .join(documents_, documents_.c.key == passages_.c.document)
            .where(among(connection, column, some), found_in_view(connection))
        )
        if permitted is not None:
            query = query.where(passages_.c.document.in_(permitted))
        if not with_text:
            rows = connection.execute(query)
            found += [Hit(row.id, row.document_id, float(scores[row.given]), "", found_by) for row in rows]
            continue
        columns = (chunks_.c.heading, chunks_.c.page, chunks_.c.start, chunks_.c.end)
        version = and_(chunks_.c.passage == passages_.c.key, chunks_.c.version == published(connection))
        query = query.add_columns(passages_.c.text, documents_.c.name, *columns).join(chunks_, version)
        found += [
            Hit(
                id=row.id,
                document_id=row.document_id,
                score=float(scores[row.given]),
                content=row.text,
                found_by=found_by,
                name=row.name,
                heading=row.heading,
                page=row.page,
                start=row.start,
                end=row.end,
            )
            for row in connection.execute(query)
        ]
    return sorted(found, key=lambda hit: (-hit.score, hit.id))
