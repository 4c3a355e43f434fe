"""Writes to an index in SQL, each inside the caller's transaction: staging, publishing, deleting, failures."""

import json
import time
from collections.abc import Collection, Mapping, Sequence
from operator import itemgetter
from typing import Any

import numpy as np
from sqlalchemy import Connection, Row, case, exists, func, select, update
from sqlalchemy import delete as delete_from

from flows.errors import FatalError
from handlers.records import Artifact, Chunk, Document, Embeddings, SparseVector
from handlers.stores.keys import is_the_same, staged_name, stored_term
from handlers.stores.protocol import Facet, FailedDocument
from handlers.stores.sql import schema
from handlers.stores.sql.adoption import adopt, check_made, disown, over_passages
from handlers.stores.sql.dialects import among, insert_rows, update_rows, upsert_rows
from handlers.stores.sql.graph import entities_of, forget_unsupported
from handlers.stores.sql.reads import batches
from handlers.stores.sql.staging import lock_documents, note_documents, stage_facets, stage_passages, touch

documents_, versions_, passages_, chunks_ = schema.documents, schema.versions, schema.passages, schema.chunks


def put_documents(
    connection: Connection,
    documents: Sequence[Document],
    chunks: Sequence[Chunk],
    summaries: Mapping[str, str],
    artifacts: Sequence[Artifact],
    revisions: Mapping[str, str],
    *,
    run_id: str,
    fingerprint: str,
) -> dict[str, str]:
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
                "summary": summaries.get(each.id),
                "fingerprint": fingerprint,
                "run_id": run_id,
                "revision": revisions.get(each.id, ""),
                "staged_at": time.time(),
            }
            for each in documents
        },
    )
    put_tags(connection, {versions[each.id]: each.tags for each in documents})
    insert_rows(
        connection,
        schema.artifacts,
        ("version", "id", "kind", "content", "uri", "page", "language"),
        [
            (versions[each.document_id], each.id, each.kind, each.content, each.uri, each.page, each.language)
            for each in {(each.document_id, each.id): each for each in artifacts}.values()
            if each.document_id in versions
        ],
    )
    columns = ("version", "passage", "position", "start", "end", "heading", "page", "tokens")
    insert_rows(
        connection,
        chunks_,
        columns,
        [
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
        ],
    )
    return names


def _stage_versions(
    connection: Connection, keys: Mapping[str, int], fields: Mapping[str, Mapping[str, Any]]
) -> dict[str, int]:
    """Rows for versions of documents, without anything below them yet; keys by document id."""
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
    for some in batches(list(documents)):
        rows = connection.execute(
            select(versions_.c.key, versions_.c.document, versions_.c.name).where(
                among(connection, versions_.c.document, some)
            )
        )
        versions.update(
            (documents[row.document], row.key) for row in rows if row.name == fields[documents[row.document]]["name"]
        )
    for some in batches(list(versions.values())):
        for table in (schema.tags, schema.artifacts, chunks_):
            connection.execute(delete_from(table).where(among(connection, table.c.version, some)))
        if connection.execute(
            select(documents_.c.key).where(among(connection, documents_.c.published, some)).limit(1)
        ).first():
            touch(connection)  # staged over what is already visible: the same run, tried again
    return versions


def version_fields(document: Document) -> dict[str, Any]:
    return {
        "title": document.title,
        "mime_type": document.mime_type,
        "content_sha256": document.content_sha256,
        "metadata": json.dumps(document.metadata, ensure_ascii=False),
    }


def put_tags(connection: Connection, tags: Mapping[int, Sequence[tuple[str, str]]]) -> None:
    rows = [(version, name, value) for version, pairs in tags.items() for name, value in dict.fromkeys(pairs)]
    insert_rows(connection, schema.tags, ("version", "name", "value"), rows)


def put_vectors(connection: Connection, chunks: Sequence[Chunk], embeddings: Embeddings, run_id: str) -> int:
    passages = stage_facets(connection, chunks, run_id, written=embeddings.chunk_ids)
    keys = _keys_of(passages, embeddings.chunk_ids)
    matrix = np.ascontiguousarray(embeddings.vectors, dtype=np.float32)
    if matrix.ndim != 2 or len(matrix) != len(keys):
        raise ValueError(f"{len(keys)} chunks need as many vectors, not an array of shape {matrix.shape}")
    _clear(connection, schema.vectors, keys)
    insert_rows(
        connection,
        schema.vectors,
        ("passage", "model", "vector"),
        [(key, embeddings.model, row) for key, row in zip(keys, matrix, strict=True)],
    )
    return len(keys)


def put_terms(connection: Connection, chunks: Sequence[Chunk], sparse: Sequence[SparseVector], run_id: str) -> int:
    passages = stage_facets(connection, chunks, run_id, written=[each.chunk_id for each in sparse])
    keys = _keys_of(passages, [each.chunk_id for each in sparse])
    _clear(connection, schema.postings, keys)
    # In the order of the table, which is quicker to fill so.
    by_term: dict[str, list[tuple[int, int]]] = {}
    for key, each in sorted(zip(keys, sparse, strict=True), key=itemgetter(0)):
        for term, n in each.counts:
            by_term.setdefault(term, []).append((key, n))
    stored = sorted((stored_term(term), term) for term in by_term)
    rows = [(name, key, n) for name, term in stored for key, n in by_term[term]]
    insert_rows(connection, schema.postings, ("term", "passage", "count"), rows)
    update_rows(
        connection,
        passages_,
        "key",
        ("length",),
        [(each.length, key) for key, each in zip(keys, sparse, strict=True)],
    )
    return len(keys)


def publish(connection: Connection, names: Mapping[str, str], expect: Collection[Facet]) -> None:
    """Make versions visible (name by document id), all or none of them."""
    keys = lock_documents(connection, list(names))
    versions = _versions_named(connection, names, keys)
    before = _published(connection, list(keys.values()))
    for document_id, name in names.items():
        if document_id not in versions and not _is_published(connection, name, before.get(keys.get(document_id, 0))):
            raise FatalError(
                f"document {document_id!r}: version {name!r} is not stored; another run may have replaced it: "
                "ingest it again"
            )
    new, documents = [each.key for each in versions.values()], [keys[each] for each in versions]
    kept = select(chunks_.c.passage).where(among(connection, chunks_.c.version, new))
    runs = {each.document: each.run_id for each in versions.values()}
    disown(connection, runs, kept)
    adopted = adopt(connection, runs)
    _check_facets(connection, {keys[each]: each for each in versions}, kept, expect)
    fingerprints = {
        each.document: (before[each.document].fingerprint, each.fingerprint)
        for each in versions.values()
        if each.document in before
    }
    check_made(connection, fingerprints, adopted, kept, expect)
    connection.execute(
        delete_from(versions_).where(among(connection, versions_.c.document, documents), versions_.c.key.not_in(new))
    )
    rest = select(passages_.c.key, passages_.c.id).where(
        among(connection, passages_.c.document, documents), passages_.c.key.not_in(kept)
    )
    gone = {row.key: row.id for row in connection.execute(rest)}
    remove_passages(connection, list(gone.keys() - over_passages(connection, gone, kept)))
    connection.execute(update(passages_).where(passages_.c.key.in_(kept), ~passages_.c.visible).values(visible=True))
    now = time.time()
    update_rows(
        connection,
        documents_,
        "key",
        ("published", "status", "reason", "tried", "updated_at"),
        [(each.key, "processed", "", "", now, each.document) for each in versions.values()],
    )
    touch(connection)


def _versions_named(connection: Connection, names: Mapping[str, str], keys: Mapping[str, int]) -> dict[str, Row]:
    """Key, document, run and fingerprint of versions by document id, in the order of `names`."""
    rows = connection.execute(
        select(
            versions_.c.key, versions_.c.document, versions_.c.name, versions_.c.run_id, versions_.c.fingerprint
        ).where(among(connection, versions_.c.document, list(keys.values())))
    )
    stored = {(row.document, row.name): row for row in rows}
    found = {document_id: stored.get((keys.get(document_id), name)) for document_id, name in names.items()}
    return {document_id: version for document_id, version in found.items() if version is not None}


def _published(connection: Connection, documents: Sequence[int]) -> dict[int, Row]:
    """Key, content hash and fingerprint of the visible versions of documents, by document key."""
    rows = connection.execute(
        select(versions_.c.key, versions_.c.document, versions_.c.content_sha256, versions_.c.fingerprint)
        .join(documents_, documents_.c.published == versions_.c.key)
        .where(among(connection, documents_.c.key, documents))
    )
    return {row.document: row for row in rows}


def _is_published(connection: Connection, name: str, visible: Row | None) -> bool:
    """Whether what a version was made of, and how, is what queries see: another run has brought the same."""
    if visible is None:
        return False
    tags = connection.execute(
        select(schema.tags.c.name, schema.tags.c.value).where(schema.tags.c.version == visible.key)
    )
    return is_the_same(name, visible.content_sha256, visible.fingerprint, ((row.name, row.value) for row in tags))


def _check_facets(connection: Connection, documents: Mapping[int, str], kept: Any, expect: Collection[Facet]) -> None:
    if not expect:
        return
    missing = {
        "facts": ~passages_.c.facts,
        "vectors": ~exists().where(schema.vectors.c.passage == passages_.c.key),
        "terms": passages_.c.length.is_(None),
    }
    facets = sorted(expect)
    counts = [func.sum(case((missing[facet], 1), else_=0)) for facet in facets]
    rows = connection.execute(
        select(passages_.c.document, *counts).where(passages_.c.key.in_(kept)).group_by(passages_.c.document)
    )
    lacking = {documents[row[0]]: row[1:] for row in rows}
    for document_id in documents.values():
        for facet, count in zip(facets, lacking.get(document_id, ()), strict=False):
            if count:
                raise FatalError(
                    f"document {document_id!r}: {count} of its chunks have no {facet} stored; another run may have "
                    "replaced them: ingest it again"
                )


def put_failures(connection: Connection, failures: Sequence[FailedDocument], *, run_id: str) -> int:
    note_documents(connection, [(each.id, each.name, each.uri) for each in failures], run_id)
    keys = lock_documents(connection, [each.id for each in failures])
    update_rows(
        connection,
        documents_,
        "key",
        ("status", "reason", "tried"),
        [("failed", each.reason, each.tried, keys[each.id]) for each in {each.id: each for each in failures}.values()],
    )
    return len({each.id for each in failures})


def delete(connection: Connection, document_ids: Sequence[str]) -> int:
    keys = list(lock_documents(connection, document_ids).values())
    gone: list[int] = []
    for some in batches(keys):
        gone += connection.scalars(select(passages_.c.key).where(among(connection, passages_.c.document, some)))
    remove_passages(connection, gone)
    for some in batches(keys):
        connection.execute(delete_from(documents_).where(among(connection, documents_.c.key, some)))
    if keys:
        touch(connection)
    return len(keys)


def remove_passages(connection: Connection, keys: Sequence[int]) -> None:
    """Remove passages, all that hangs on them, and the entities that only they support."""
    touched = entities_of(connection, keys)
    for some in batches(keys):
        connection.execute(delete_from(schema.postings).where(among(connection, schema.postings.c.passage, some)))
        connection.execute(delete_from(passages_).where(among(connection, passages_.c.key, some)))
    forget_unsupported(connection, touched)


def _clear(connection: Connection, table: Any, passages: Sequence[int]) -> None:
    for some in batches(passages):
        connection.execute(delete_from(table).where(among(connection, table.c.passage, some)))


def _keys_of(passages: Mapping[str, int], chunk_ids: Sequence[str]) -> list[int]:
    unknown = [each for each in chunk_ids if each not in passages]
    if unknown:
        raise ValueError(f"chunk {unknown[0]!r} is not among the chunks that were given")
    if len(set(chunk_ids)) != len(chunk_ids):
        raise ValueError("a chunk is given more than once")
    return [passages[each] for each in chunk_ids]
