"""Searching an index in SQL, as far as the databases agree: which documents a filter lets through, and hits."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np
from sqlalchemy import Connection, Select, and_, select

from flows.state import chunked
from handlers.records import Hit
from handlers.stores.keys import stored_term
from handlers.stores.ranking import BM25, Bm25, TermQuery, VectorQuery
from handlers.stores.sql import schema
from handlers.stores.sql.transactions import Transactions
from handlers.tags import TagFilter

documents_, passages_, chunks_ = schema.documents, schema.passages, schema.chunks


class SqlSearch(Transactions):
    """All of `IndexSearch` but the graph; how passages are scored is the database's own."""

    @abstractmethod
    def _nearest(self, connection: Connection, query: VectorQuery, where: TagFilter | None) -> dict[int, float]:
        """Inner products of the nearest visible passages that the filter lets through, by passage key."""

    @abstractmethod
    def _matching(self, connection: Connection, query: TermQuery, where: TagFilter | None) -> dict[int, float]:
        """BM25 scores of the best visible passages that the filter lets through, by passage key."""

    def search_vectors(
        self, vector: np.ndarray, *, top_k: int = 50, model: str | None = None, where: TagFilter | None = None
    ) -> list[Hit]:
        query = VectorQuery(np.ascontiguousarray(vector, dtype=np.float32).reshape(-1), top_k, model)
        with self._read() as connection:
            scores = self._nearest(connection, query, where or None)
            return _hits(connection, scores, found_by="vector")

    def search_terms(
        self, counts: Mapping[str, float], *, top_k: int = 50, bm25: Bm25 = BM25, where: TagFilter | None = None
    ) -> list[Hit]:
        query = TermQuery({stored_term(term): weight for term, weight in counts.items()}, top_k, bm25)
        with self._read() as connection:
            scores = self._matching(connection, query, where or None)
            return _hits(connection, scores, found_by="keyword")

    def hits(self, scores: Mapping[str, float], *, found_by: str, where: TagFilter | None = None) -> list[Hit]:
        permitted = permitted_documents(where)
        with self._read() as connection:
            by_key: dict[int, float] = {}
            for ids in chunked(scores):
                query = select(passages_.c.id, passages_.c.key).where(passages_.c.id.in_(ids))
                if permitted is not None:
                    query = query.where(passages_.c.document.in_(permitted))
                by_key.update((row.key, scores[row.id]) for row in connection.execute(query))
            return _hits(connection, by_key, found_by=found_by)


def permitted_documents(where: TagFilter | None) -> Select[Any] | None:
    """Selects the keys of the visible documents that a filter lets through; `None` when there is no filter."""
    if not where:
        return None
    tags = schema.tags
    query = select(documents_.c.key)
    for name, values in where.wanted:
        matching = select(tags.c.version).where(tags.c.name == name, tags.c.value.in_(values))
        query = query.where(documents_.c.published.in_(matching))
    return query


def _hits(connection: Connection, scores: Mapping[int, float], *, found_by: str) -> list[Hit]:
    """Hits of these passages (score by key) as far as they are visible, best first, ties by chunk id."""
    found: list[Hit] = []
    for keys in chunked(scores):
        rows = connection.execute(
            select(
                passages_.c.key,
                passages_.c.id,
                passages_.c.text,
                documents_.c.id.label("document_id"),
                documents_.c.name,
                chunks_.c.heading,
                chunks_.c.page,
                chunks_.c.start,
                chunks_.c.end,
            )
            .join(documents_, documents_.c.key == passages_.c.document)
            .join(chunks_, and_(chunks_.c.passage == passages_.c.key, chunks_.c.version == documents_.c.published))
            .where(passages_.c.key.in_(keys), passages_.c.visible)
        )
        found += [
            Hit(
                id=row.id,
                document_id=row.document_id,
                score=float(scores[row.key]),
                content=row.text,
                found_by=found_by,
                name=row.name,
                heading=row.heading,
                page=row.page,
                start=row.start,
                end=row.end,
            )
            for row in rows
        ]
    return sorted(found, key=lambda hit: (-hit.score, hit.id))
