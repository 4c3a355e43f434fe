"""Writes to an index in SQL, each inside the caller's transaction: staging, publishing, deleting, failures."""

import json
import time
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from sqlalchemy import Connection, bindparam, exists, func, select, update
from sqlalchemy import delete as delete_from

from flows.errors import FatalError
from handlers.records import Artifact, Chunk, Document, Embeddings, SparseVector
from handlers.stores import schema
from handlers.stores.dialects import insert_rows, upsert
from handlers.stores.graph import entities_of, forget_unsupported
from handlers.stores.protocol import UNSETTLED, Facet, FailedDocument, staged_name, stored_term
from handlers.stores.reads import batches
from handlers.stores.staging import lock_documents, note_documents, stage_passages, touch, unsettle

documents_, versions_, passages_, chunks_ = schema.documents, schema.versions, schema.passages, schema.chunks


def put_documents(
    connection: Connection, documents: Sequence[Document], chunks: Sequence[Chunk], summaries: Mapping[str, str],
    artifacts: Sequence[Artifact], revisions: Mapping[str, str], *, run_id: str, fingerprint: str,
) -> dict[str, str]:  # fmt: skip
    note_documents(connection, [(each.id, each.name, each.uri) for each in documents], run_id)
    passages = stage_passages(connection, chunks, run_id)
    keys = lock_documents(connection, [each.id for each in documents])
    versions: dict[str, int] = {}
    for document in documents:
        versions[document.id] = _stage_version(
            connection, document, keys[document.id], staged_name(document, run_id),
            {
                "summary": summaries.get(document.id), "fingerprint": fingerprint, "run_id": run_id,
                "revision": revisions.get(document.id, ""), "staged_at": time.time(),
            },
        )  # fmt: skip
    put_tags(connection, {versions[each.id]: each.tags for each in documents})
    insert_rows(connection, schema.artifacts, ("version", "id", "kind", "content", "uri", "page", "language"), [
        (versions[each.document_id], each.id, each.kind, each.content, each.uri, each.page, each.language)
        for each in {(each.document_id, each.id): each for each in artifacts}.values() if each.document_id in versions
    ])  # fmt: skip
    columns = ("version", "passage", "position", "start", "end", "heading", "page", "tokens")
    insert_rows(connection, chunks_, columns, [
        (
            versions[each.document_id], passages[each.id], each.position, each.start, each.end, each.heading, each.page,
            each.tokens,
        )
        for each in {each.id: each for each in chunks}.values() if each.document_id in versions
    ])  # fmt: skip
    return {each.id: staged_name(each, run_id) for each in documents}


def _stage_version(connection: Connection, document: Document, key: int, name: str, fields: Mapping[str, Any]) -> int:
    fields = {**version_fields(document), **fields}
    version = connection.execute(
        upsert(connection, versions_).values(document=key, name=name, **fields)
        .on_conflict_do_update(index_elements=["document", "name"], set_=fields).returning(versions_.c.key)
    ).scalar_one()  # fmt: skip
    for table in (schema.tags, schema.artifacts, chunks_):
        connection.execute(delete_from(table).where(table.c.version == version))
    if connection.execute(select(documents_.c.key).where(documents_.c.published == version)).first() is not None:
        touch(connection)  # staged over what is already visible: the same run, tried again
    return version


def version_fields(document: Document) -> dict[str, Any]:
    return {
        "title": document.title, "mime_type": document.mime_type, "content_sha256": document.content_sha256,
        "metadata": json.dumps(document.metadata, ensure_ascii=False),
    }  # fmt: skip


def put_tags(connection: Connection, tags: Mapping[int, Sequence[tuple[str, str]]]) -> None:
    rows = [(version, name, value) for version, pairs in tags.items() for name, value in dict.fromkeys(pairs)]
    insert_rows(connection, schema.tags, ("version", "name", "value"), rows)


def put_vectors(connection: Connection, chunks: Sequence[Chunk], embeddings: Embeddings, run_id: str) -> int:
    passages = stage_passages(connection, chunks, run_id)
    keys = _keys_of(passages, embeddings.chunk_ids)
    matrix = np.ascontiguousarray(embeddings.vectors, dtype=np.float32)
    if matrix.ndim != 2 or len(matrix) != len(keys):
        raise ValueError(f"{len(keys)} chunks need as many vectors, not an array of shape {matrix.shape}")
    _replace(connection, schema.vectors, keys)
    insert_rows(
        connection, schema.vectors, ("passage", "model", "vector"),
        [(key, embeddings.model, row) for key, row in zip(keys, matrix, strict=True)],
    )  # fmt: skip
    return len(keys)


def put_terms(connection: Connection, chunks: Sequence[Chunk], sparse: Sequence[SparseVector], run_id: str) -> int:
    passages = stage_passages(connection, chunks, run_id)
    keys = _keys_of(passages, [each.chunk_id for each in sparse])
    _replace(connection, schema.postings, keys)
    rows = sorted(
        (stored_term(term), key, n) for key, each in zip(keys, sparse, strict=True) for term, n in each.counts
    )
    insert_rows(connection, schema.postings, ("term", "passage", "count"), rows)
    if keys:
        connection.execute(
            update(passages_).where(passages_.c.key == bindparam("passage")).values(length=bindparam("terms")),
            [{"passage": key, "terms": each.length} for key, each in zip(keys, sparse, strict=True)],
        )
    return len(keys)


def publish(connection: Connection, document_id: str, name: str, expect: Collection[Facet]) -> None:
    keys = lock_documents(connection, [document_id])
    version = connection.execute(
        select(versions_.c.key).join(documents_, documents_.c.key == versions_.c.document)
        .where(documents_.c.id == document_id, versions_.c.name == name)
    ).scalar_one_or_none()  # fmt: skip
    if version is None:
        raise FatalError(
            f"document {document_id!r}: version {name!r} is not stored; another run may have replaced it: "
            "ingest it again"
        )
    document = keys[document_id]
    kept = select(chunks_.c.passage).where(chunks_.c.version == version)
    _check_facets(connection, document_id, kept, expect)
    connection.execute(delete_from(versions_).where(versions_.c.document == document, versions_.c.key != version))
    gone = list(connection.scalars(
        select(passages_.c.key).where(passages_.c.document == document, passages_.c.key.not_in(kept))
    ))  # fmt: skip
    remove_passages(connection, gone)
    connection.execute(update(passages_).where(passages_.c.key.in_(kept), ~passages_.c.visible).values(visible=True))
    connection.execute(
        update(versions_).where(versions_.c.key == version, versions_.c.fingerprint.startswith(UNSETTLED))
        .values(fingerprint=func.ltrim(versions_.c.fingerprint, UNSETTLED))
    )  # fmt: skip
    connection.execute(
        update(documents_).where(documents_.c.key == document)
        .values(published=version, status="processed", reason="", tried="", updated_at=time.time())
    )  # fmt: skip
    touch(connection)


def _check_facets(connection: Connection, document_id: str, kept: Any, expect: Collection[Facet]) -> None:
    missing = {
        "facts": ~passages_.c.facts,
        "vectors": ~exists().where(schema.vectors.c.passage == passages_.c.key),
        "terms": passages_.c.length.is_(None),
    }
    for facet in sorted(expect):
        lacking = connection.execute(
            select(func.count()).select_from(passages_).where(passages_.c.key.in_(kept), missing[facet])
        ).scalar_one()
        if lacking:
            raise FatalError(
                f"document {document_id!r}: {lacking} of its chunks have no {facet} stored; another run may have "
                "replaced them: ingest it again"
            )


def put_failures(connection: Connection, failures: Sequence[FailedDocument], *, run_id: str) -> int:
    note_documents(connection, [(each.id, each.name, each.uri) for each in failures], run_id)
    for each in failures:
        connection.execute(
            update(documents_)
            .where(documents_.c.id == each.id)
            .values(status="failed", reason=each.reason, tried=each.tried)
        )
    return len({each.id for each in failures})


def delete(connection: Connection, document_ids: Sequence[str]) -> int:
    keys = list(lock_documents(connection, document_ids).values())
    gone: list[int] = []
    for some in batches(keys):
        gone += connection.scalars(select(passages_.c.key).where(passages_.c.document.in_(some)))
    remove_passages(connection, gone)
    for some in batches(keys):
        connection.execute(delete_from(documents_).where(documents_.c.key.in_(some)))
    if keys:
        touch(connection)
    return len(keys)


def remove_passages(connection: Connection, keys: Sequence[int]) -> None:
    """Remove passages, all that hangs on them, and the entities that only they support."""
    touched = entities_of(connection, keys)
    for some in batches(keys):
        connection.execute(delete_from(passages_).where(passages_.c.key.in_(some)))
    forget_unsupported(connection, touched)


def _replace(connection: Connection, table: Any, passages: Sequence[int]) -> None:
    """Remove what a table has of these passages, and tell if queries could see it."""
    for some in batches(passages):
        connection.execute(delete_from(table).where(table.c.passage.in_(some)))
    if unsettle(connection, passages):
        touch(connection)


def _keys_of(passages: Mapping[str, int], chunk_ids: Sequence[str]) -> list[int]:
    unknown = [each for each in chunk_ids if each not in passages]
    if unknown:
        raise ValueError(f"chunk {unknown[0]!r} is not among the chunks that were given")
    if len(set(chunk_ids)) != len(chunk_ids):
        raise ValueError("a chunk is given more than once")
    return [passages[each] for each in chunk_ids]
