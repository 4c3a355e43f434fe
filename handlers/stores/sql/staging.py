"""The beginning of every write to an index in SQL: rows for documents and passages, and locks.

Every write locks the rows of its documents first, in order of their ids: writers of the same document wait for each
other, writers of different documents do not, and deadlocks cannot occur. (SQLite has one writer at a time anyway.)
"""

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, select

from flows.state import chunked
from handlers.records import Chunk, Document
from handlers.stores.sql import schema
from handlers.stores.sql.dialects import among, insert_rows, upsert_rows

OVER = "~"
"""Separates the id of a passage from the id of the run that stages over it; chunk ids do not contain it."""


documents_, passages_ = schema.documents, schema.passages


def stage_passages(connection: Connection, chunks: Sequence[Chunk], run_id: str) -> dict[str, Row]:
    """The rows for chunks, created if missing: key, document, run and visibility, by chunk id."""
    documents = lock_documents(connection, [chunk.document_id for chunk in chunks])
    missing = {chunk.document_id for chunk in chunks} - documents.keys()
    if missing:
        note_documents(connection, [(each, "", "") for each in missing], "")
        documents.update(lock_documents(connection, missing))
    found = stored_passages(connection, [chunk.id for chunk in chunks])
    new = {chunk.id: chunk for chunk in chunks if chunk.id not in found}
    if new:
        now = time.time()
        upsert_rows(
            connection,
            passages_,
            ("id", "document", "visible", "text", "facts", "run_id", "staged_at"),
            [(each.id, documents[each.document_id], False, each.text, False, run_id, now) for each in new.values()],
            conflict="(id) DO NOTHING",
        )
        found.update(stored_passages(connection, new))
    return {chunk.id: found[chunk.id] for chunk in chunks}


def stage_facets(
    connection: Connection, chunks: Sequence[Chunk], run_id: str, *, written: Sequence[str] | None = None
) -> dict[str, int]:
    """The keys of invisible rows for staging facets, by chunk id; `written` are the ids of chunks with facets.

    Facets of a passage that queries see, or that another run has staged, go to an invisible row of their own, whose id
    is the passage's followed by the run's, so that rows that are visible or of another run are never overwritten. The
    row replaces the passage when its run publishes (`adoption`).
    """
    passages = stage_passages(connection, chunks, run_id)
    wanted = set(passages if written is None else written)
    over = {each: row for each, row in passages.items() if each in wanted and (row.visible or row.run_id != run_id)}
    now = time.time()
    ids = {f"{chunk_id}{OVER}{run_id}": chunk_id for chunk_id in over}
    upsert_rows(
        connection,
        passages_,
        ("id", "document", "visible", "text", "facts", "run_id", "staged_at"),
        [(each, over[chunk_id].document, False, "", False, run_id, now) for each, chunk_id in ids.items()],
        conflict="(id) DO UPDATE SET staged_at = excluded.staged_at",
    )
    rows = stored_passages(connection, ids)
    keys = {chunk_id: row.key for chunk_id, row in passages.items()}
    return keys | {chunk_id: rows[each].key for each, chunk_id in ids.items()}


def stored_passages(connection: Connection, chunk_ids: Iterable[str]) -> dict[str, Row]:
    """The rows of those passages that are stored, by id."""
    found: dict[str, Row] = {}
    for some in chunked(dict.fromkeys(chunk_ids)):
        rows = connection.execute(
            select(
                passages_.c.id, passages_.c.key, passages_.c.document, passages_.c.visible, passages_.c.run_id
            ).where(among(connection, passages_.c.id, some))
        )
        found.update((row.id, row) for row in rows)
    return found


def note_documents(connection: Connection, rows: Sequence[tuple[str, str, str]], run_id: str) -> None:
    """Put documents (id, name, uri) into the table and lock their rows; without a name, only their ids."""
    now = time.time()
    for named in (True, False):
        changed = ("name", "uri", "run_id", "updated_at") if named else ("updated_at",)
        upsert_rows(
            connection,
            documents_,
            ("id", "name", "uri", "status", "reason", "run_id", "updated_at"),
            [
                (document_id, name or document_id, uri, "pending", "", run_id, now)
                for document_id, name, uri in sorted({row[0]: row for row in rows}.values())
                if bool(name) is named
            ],
            conflict="(id) DO UPDATE SET " + ", ".join(f"{column} = excluded.{column}" for column in changed),
        )


def lock_documents(connection: Connection, ids: Iterable[str]) -> dict[str, int]:
    """The keys of those documents that are in the table, locked until this transaction ends."""
    keys: dict[str, int] = {}
    for some in chunked(sorted(set(ids))):
        found = connection.execute(
            select(documents_.c.id, documents_.c.key)
            .where(among(connection, documents_.c.id, some))
            .order_by(documents_.c.id)
            .with_for_update(key_share=True)
        )
        keys.update((row.id, row.key) for row in found)
    return keys


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
