"""Staging in an index in SQL: versions of documents, vectors and terms, which no query sees yet."""

import time
from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Any

import numpy as np
from sqlalchemy import Connection, Row, or_, select
from sqlalchemy import delete as delete_from

from flows.state import chunked
from handlers.records import Artifact, Chunk, Document, Embeddings, SparseVector
from handlers.stores.keys import staged_name, stored_term, vector_checksum
from handlers.stores.refusals import check_chunk_ids, check_shape, check_tokens
from handlers.stores.rows import FailedDocument
from handlers.stores.sql import schema
from handlers.stores.sql.changes import note_change
from handlers.stores.sql.dialects import among, insert_rows, update_rows, upsert_rows
from handlers.stores.sql.staging import (
    lock_documents,
    note_documents,
    put_tags,
    stage_facets,
    stage_passages,
    version_fields,
)
from handlers.stores.sql.transactions import Transactions
from handlers.stores.sql.views import pointer

documents_, versions_, passages_, chunks_ = schema.documents, schema.versions, schema.passages, schema.chunks
_PASSAGES_AT_ONCE = 1_000
"""Passages whose terms are rows at the same time: all rows of a large document take much more memory than its text."""


class SqlWriter(Transactions):
    """`IndexWriter` without the graph and publication."""

    def put_documents(
        self,
        documents: Sequence[Document],
        chunks: Sequence[Chunk],
        *,
        summaries: Mapping[str, str] | None = None,
        artifacts: Sequence[Artifact] = (),
        revisions: Mapping[str, str] | None = None,
        run_id: str = "",
        fingerprint: str = "",
    ) -> dict[str, str]:
        with self._write() as connection:
            note_documents(connection, [(each.id, each.name, each.uri) for each in documents], run_id)
            passages = stage_passages(connection, chunks, run_id)
            keys = lock_documents(connection, [each.id for each in documents])
            names = {each.id: staged_name(each, fingerprint, run_id) for each in documents}
            versions = _stage_versions(
                connection,
                keys,
                {
                    each.id: {
                        **version_fields(each),
                        "name": names[each.id],
                        "summary": (summaries or {}).get(each.id),
                        "fingerprint": fingerprint,
                        "run_id": run_id,
                        "revision": (revisions or {}).get(each.id, ""),
                        "staged_at": time.time(),
                    }
                    for each in documents
                },
            )
            put_tags(connection, {versions[each.id]: each.tags for each in documents})
            _insert_artifacts(connection, versions, artifacts)
            _insert_chunks(connection, versions, passages, chunks)
            return names

    def put_vectors(self, chunks: Sequence[Chunk], embeddings: Embeddings, *, run_id: str = "") -> int:
        with self._write() as connection:
            passages = stage_facets(connection, chunks, run_id, written=embeddings.chunk_ids)
            keys = _keys_of(passages, embeddings.chunk_ids)
            matrix = np.ascontiguousarray(embeddings.vectors, dtype=np.float32)
            check_shape(matrix, len(keys))
            check_tokens(embeddings)
            tokens = embeddings.tokens or (b"",) * len(keys)
            _clear(connection, schema.vectors, keys)
            insert_rows(
                connection,
                schema.vectors,
                ("passage", "model", "vector", "checksum"),
                [
                    (key, embeddings.model, row, vector_checksum(row, packed))
                    for key, row, packed in zip(keys, matrix, tokens, strict=True)
                ],
            )
            _insert_tokens(connection, keys, embeddings)
            return len(keys)

    def put_terms(self, chunks: Sequence[Chunk], sparse: Sequence[SparseVector], *, run_id: str = "") -> int:
        with self._write() as connection:
            passages = stage_facets(connection, chunks, run_id, written=[each.chunk_id for each in sparse])
            keys = _keys_of(passages, [each.chunk_id for each in sparse])
            _clear(connection, schema.postings, keys)
            for some in chunked(sorted(zip(keys, sparse, strict=True), key=itemgetter(0)), _PASSAGES_AT_ONCE):
                rows = _postings_of(some)
                insert_rows(connection, schema.postings, ("term", "passage", "count"), rows)
            update_rows(
                connection,
                passages_,
                "key",
                ("length",),
                [(each.length, key) for key, each in zip(keys, sparse, strict=True)],
            )
            return len(keys)

    def put_failures(self, failures: Sequence[FailedDocument], *, run_id: str = "") -> int:
        last = {each.id: each for each in failures}
        with self._write() as connection:
            note_documents(connection, [(each.id, each.name, each.uri) for each in failures], run_id)
            keys = lock_documents(connection, [each.id for each in failures])
            update_rows(
                connection,
                documents_,
                "key",
                ("status", "reason", "tried"),
                [("failed", each.reason, each.tried, keys[each.id]) for each in last.values()],
            )
        return len(last)


def _postings_of(counted: Sequence[tuple[int, SparseVector]]) -> list[tuple[str, int, int]]:
    """Rows for the terms of passages, in the order of the table, because inserting in that order is faster."""
    by_term: dict[str, list[tuple[int, int]]] = {}
    for key, each in counted:
        for term, n in each.counts:
            by_term.setdefault(term, []).append((key, n))
    stored = sorted((stored_term(term), term) for term in by_term)
    return [(name, key, n) for name, term in stored for key, n in by_term[term]]


def _stage_versions(
    connection: Connection, keys: Mapping[str, int], fields: Mapping[str, Mapping[str, Any]]
) -> dict[str, int]:
    """Rows for versions of documents, with neither chunks nor tags nor artifacts yet; keys by document id."""
    if not fields:
        return {}
    columns = list(next(iter(fields.values())))
    changed = ", ".join(f'"{name}" = excluded."{name}"' for name in columns if name != "name")
    upsert_rows(
        connection,
        versions_,
        ("document", *columns),
        [(keys[document_id], *given.values()) for document_id, given in fields.items()],
        conflict=f"(document, name) DO UPDATE SET {changed}",
    )
    documents = {keys[document_id]: document_id for document_id in fields}
    versions: dict[str, int] = {}
    for some in chunked(documents):
        rows = connection.execute(
            select(versions_.c.key, versions_.c.document, versions_.c.name).where(
                among(connection, versions_.c.document, some)
            )
        )
        versions.update(
            (documents[row.document], row.key) for row in rows if row.name == fields[documents[row.document]]["name"]
        )
    for some in chunked(list(versions.values())):
        for table in (schema.tags, schema.artifacts, chunks_):
            connection.execute(delete_from(table).where(among(connection, table.c.version, some)))
        if connection.execute(
            select(documents_.c.key).where(or_(*(among(connection, pointer(side), some) for side in (1, 2)))).limit(1)
        ).first():
            note_change(connection)  # a step that is tried again after its version has become visible
    return versions


def _insert_artifacts(connection: Connection, versions: Mapping[str, int], artifacts: Sequence[Artifact]) -> None:
    rows = [
        (versions[each.document_id], each.id, each.kind, each.content, each.uri, each.page, each.language)
        for each in {(each.document_id, each.id): each for each in artifacts}.values()
        if each.document_id in versions
    ]
    columns = ("version", "id", "kind", "content", "uri", "page", "language")
    insert_rows(connection, schema.artifacts, columns, rows)


def _insert_chunks(
    connection: Connection, versions: Mapping[str, int], passages: Mapping[str, Row], chunks: Sequence[Chunk]
) -> None:
    rows = [
        (
            versions[each.document_id],
            passages[each.id].key,
            each.position,
            each.start,
            each.end,
            each.heading,
            each.page,
            each.tokens,
        )
        for each in {each.id: each for each in chunks}.values()
        if each.document_id in versions
    ]
    columns = ("version", "passage", "position", "start", "end", "heading", "page", "tokens")
    insert_rows(connection, chunks_, columns, rows)


def _insert_tokens(connection: Connection, passages: Sequence[int], embeddings: Embeddings) -> None:
    packed = {key: tokens for key, tokens in zip(passages, embeddings.tokens, strict=False) if tokens}
    vectors = schema.vectors
    for some in chunked(list(packed)):
        rows = connection.execute(
            select(vectors.c.key, vectors.c.passage).where(
                among(connection, vectors.c.passage, some), vectors.c.model == embeddings.model
            )
        )
        insert_rows(
            connection,
            schema.token_vectors,
            ("vector", "packed"),
            [(row.key, packed[row.passage]) for row in rows],
        )


def _clear(connection: Connection, table: Any, passages: Sequence[int]) -> None:
    for some in chunked(passages):
        connection.execute(delete_from(table).where(among(connection, table.c.passage, some)))


def _keys_of(passages: Mapping[str, int], chunk_ids: Sequence[str]) -> list[int]:
    check_chunk_ids(passages.keys(), chunk_ids)
    return [passages[each] for each in chunk_ids]
