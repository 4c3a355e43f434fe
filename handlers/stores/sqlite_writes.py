"""Writes to the SQLite index, each inside the caller's transaction: staging, publishing, deleting, failures."""

import json
import time
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from sqlalchemy import Connection, exists, func, insert, select, update
from sqlalchemy import delete as delete_from
from sqlalchemy.dialects.sqlite import insert as upsert

from flows.errors import FatalError
from handlers.records import Artifact, Chunk, Document, Embeddings, SparseVector
from handlers.stores import schema
from handlers.stores.protocol import Facet, FailedDocument, staged_name
from handlers.stores.sqlite_graph import entities_of, forget_unsupported
from handlers.stores.sqlite_reads import batches
from handlers.stores.sqlite_staging import document_keys, note_documents, stage_passages, touch

documents_, versions_, passages_, chunks_ = schema.documents, schema.versions, schema.passages, schema.chunks


def put_documents(
    connection: Connection, documents: Sequence[Document], chunks: Sequence[Chunk], summaries: Mapping[str, str],
    artifacts: Sequence[Artifact], *, run_id: str, fingerprint: str,
) -> dict[str, str]:  # fmt: skip
    note_documents(connection, [(each.id, each.name, each.uri) for each in documents], run_id)
    passages = stage_passages(connection, chunks)
    of_document: dict[str, list[Chunk]] = defaultdict(list)
    for chunk in chunks:
        of_document[chunk.document_id].append(chunk)
    found: dict[str, list[Artifact]] = defaultdict(list)
    for artifact in artifacts:
        found[artifact.document_id].append(artifact)
    for document in documents:
        version = _stage_version(connection, document, staged_name(document, run_id), summaries, fingerprint)
        _insert(connection, schema.tags, (
            {"version": version, "name": name, "value": value} for name, value in dict.fromkeys(document.tags)
        ))  # fmt: skip
        _insert(connection, schema.artifacts, {each.id: {
            "version": version, "id": each.id, "kind": each.kind, "content": each.content, "uri": each.uri,
            "page": each.page, "language": each.language,
        } for each in found[document.id]}.values())  # fmt: skip
        _insert(connection, chunks_, {each.id: {
            "version": version, "passage": passages[each.id], "position": each.position, "start": each.start,
            "end": each.end, "heading": each.heading, "page": each.page, "tokens": each.tokens,
        } for each in of_document[document.id]}.values())  # fmt: skip
    return {each.id: staged_name(each, run_id) for each in documents}


def _stage_version(
    connection: Connection, document: Document, name: str, summaries: Mapping[str, str], fingerprint: str
) -> int:
    key = document_keys(connection, [document.id])[document.id]
    fields = {
        "title": document.title, "mime_type": document.mime_type, "content_sha256": document.content_sha256,
        "fingerprint": fingerprint, "metadata": json.dumps(document.metadata, ensure_ascii=False),
        "summary": summaries.get(document.id),
    }  # fmt: skip
    version = connection.execute(
        upsert(versions_).values(document=key, name=name, **fields)
        .on_conflict_do_update(index_elements=["document", "name"], set_=fields).returning(versions_.c.key)
    ).scalar_one()  # fmt: skip
    for table in (schema.tags, schema.artifacts, chunks_):
        connection.execute(delete_from(table).where(table.c.version == version))
    if connection.execute(select(documents_.c.key).where(documents_.c.published == version)).first() is not None:
        touch(connection)  # staged over what is already visible: the same run, tried again
    return version


def put_vectors(connection: Connection, chunks: Sequence[Chunk], embeddings: Embeddings) -> int:
    passages = stage_passages(connection, chunks)
    keys = _keys_of(passages, embeddings.chunk_ids)
    matrix = np.ascontiguousarray(embeddings.vectors, dtype="<f4")
    if matrix.ndim != 2 or len(matrix) != len(keys):
        raise ValueError(f"{len(keys)} chunks need as many vectors, not an array of shape {matrix.shape}")
    _replace(connection, schema.vectors, keys)
    _insert(connection, schema.vectors, (
        {"passage": key, "model": embeddings.model, "vector": row.tobytes()}
        for key, row in zip(keys, matrix, strict=True)
    ))  # fmt: skip
    return len(keys)


def put_terms(connection: Connection, chunks: Sequence[Chunk], sparse: Sequence[SparseVector]) -> int:
    passages = stage_passages(connection, chunks)
    keys = _keys_of(passages, [each.chunk_id for each in sparse])
    _replace(connection, schema.postings, keys)
    # Straight to the driver: there are a hundred rows a chunk.
    rows = sorted((term, key, n) for key, each in zip(keys, sparse, strict=True) for term, n in each.counts)
    if rows:
        connection.exec_driver_sql("INSERT INTO postings (term, passage, count) VALUES (?, ?, ?)", rows)
    lengths = [(each.length, key) for key, each in zip(keys, sparse, strict=True)]
    if lengths:
        connection.exec_driver_sql("UPDATE passages SET length = ? WHERE key = ?", lengths)
    return len(keys)


def publish(connection: Connection, document_id: str, name: str, expect: Collection[Facet]) -> None:
    version = connection.execute(
        select(versions_.c.key).join(documents_, documents_.c.key == versions_.c.document)
        .where(documents_.c.id == document_id, versions_.c.name == name)
    ).scalar_one_or_none()  # fmt: skip
    if version is None:
        raise FatalError(
            f"document {document_id!r}: version {name!r} is not stored; another run may have replaced it: "
            "ingest it again"
        )
    document = document_keys(connection, [document_id])[document_id]
    kept = select(chunks_.c.passage).where(chunks_.c.version == version)
    _check_facets(connection, document_id, kept, expect)
    connection.execute(delete_from(versions_).where(versions_.c.document == document, versions_.c.key != version))
    gone = list(connection.scalars(
        select(passages_.c.key).where(passages_.c.document == document, passages_.c.key.not_in(kept))
    ))  # fmt: skip
    _remove_passages(connection, gone)
    connection.execute(update(passages_).where(passages_.c.key.in_(kept)).values(visible=True))
    connection.execute(
        update(documents_).where(documents_.c.key == document)
        .values(published=version, status="processed", reason="", updated_at=time.time())
    )  # fmt: skip
    touch(connection)


def _check_facets(connection: Connection, document_id: str, kept: Any, expect: Collection[Facet]) -> None:
    missing = {
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
            update(documents_).where(documents_.c.id == each.id).values(status="failed", reason=each.reason)
        )
    return len({each.id for each in failures})


def delete(connection: Connection, document_ids: Sequence[str]) -> int:
    keys = document_keys(connection, document_ids)
    for key in keys.values():
        gone = list(connection.scalars(select(passages_.c.key).where(passages_.c.document == key)))
        _remove_passages(connection, gone)
        connection.execute(delete_from(documents_).where(documents_.c.key == key))
    if keys:
        touch(connection)
    return len(keys)


def _remove_passages(connection: Connection, keys: Sequence[int]) -> None:
    touched = entities_of(connection, keys)
    for some in batches(keys):
        connection.execute(delete_from(passages_).where(passages_.c.key.in_(some)))
    forget_unsupported(connection, touched)


def _replace(connection: Connection, table: Any, passages: Sequence[int]) -> None:
    """Remove what a table has of these passages, and tell if queries could see it."""
    visible = False
    for some in batches(passages):
        connection.execute(delete_from(table).where(table.c.passage.in_(some)))
        visible = visible or bool(connection.execute(
            select(passages_.c.key).where(passages_.c.key.in_(some), passages_.c.visible).limit(1)
        ).first())  # fmt: skip
    if visible:
        touch(connection)


def _keys_of(passages: Mapping[str, int], chunk_ids: Sequence[str]) -> list[int]:
    unknown = [each for each in chunk_ids if each not in passages]
    if unknown:
        raise ValueError(f"chunk {unknown[0]!r} is not among the chunks that were given")
    if len(set(chunk_ids)) != len(chunk_ids):
        raise ValueError("a chunk is given more than once")
    return [passages[each] for each in chunk_ids]


def _insert(connection: Connection, table: Any, rows: Iterable[Mapping[str, Any]]) -> None:
    listed = [dict(row) for row in rows]
    if listed:
        connection.execute(insert(table), listed)
