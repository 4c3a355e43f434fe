"""What every writer of an index in SQL begins with: rows for documents and passages, and the change counter.

Every write locks the rows of its documents first, in order of their ids: writers of one document take turns, writers
of different documents go on, and none can wait for each other in a circle. (SQLite has one writer at a time anyway.)
"""

import time
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, Row, func, literal, select, update

from handlers.records import Chunk
from handlers.stores import schema
from handlers.stores.dialects import among, upsert, upsert_rows
from handlers.stores.protocol import UNSETTLED
from handlers.stores.reads import batches

documents_, passages_ = schema.documents, schema.passages


def stage_passages(connection: Connection, chunks: Sequence[Chunk], run_id: str) -> dict[str, int]:
    """Rows for chunks, whichever of the writers comes first; keys by chunk id."""
    documents = lock_documents(connection, [chunk.document_id for chunk in chunks])
    missing = {chunk.document_id for chunk in chunks} - documents.keys()
    if missing:
        note_documents(connection, [(each, "", "") for each in missing], "")
        documents.update(lock_documents(connection, missing))
    found = _stored_passages(connection, chunks)
    new = {chunk.id: chunk for chunk in chunks if chunk.id not in found}
    # A run that stages again what a crashed one left takes it over, so that nobody sweeps it away meanwhile.
    left = [row.key for row in found.values() if not row.visible and row.run_id != run_id]
    now = time.time()
    for some in batches(left):
        connection.execute(
            update(passages_).where(among(connection, passages_.c.key, some), ~passages_.c.visible)
            .values(run_id=run_id, staged_at=now)
        )  # fmt: skip
    if new:
        upsert_rows(
            connection, passages_, ("id", "document", "visible", "text", "facts", "run_id", "staged_at"),
            [(each.id, documents[each.document_id], False, each.text, False, run_id, now) for each in new.values()],
            conflict="(id) DO NOTHING",
        )  # fmt: skip
        found.update(_stored_passages(connection, list(new.values())))
    return {chunk.id: found[chunk.id].key for chunk in chunks}


def _stored_passages(connection: Connection, chunks: Sequence[Chunk]) -> dict[str, Row[Any]]:
    found: dict[str, Row[Any]] = {}
    for some in batches(list(dict.fromkeys(chunk.id for chunk in chunks))):
        rows = connection.execute(
            select(passages_.c.id, passages_.c.key, passages_.c.visible, passages_.c.run_id)
            .where(among(connection, passages_.c.id, some))
        )  # fmt: skip
        found.update((row.id, row) for row in rows)
    return found


def touch(connection: Connection) -> None:
    """Tell every process that what queries see has changed."""
    counters = schema.counters
    connection.execute(
        upsert(connection, counters).values(name="data", value=1)
        .on_conflict_do_update(index_elements=["name"], set_={"value": counters.c.value + 1})
    )  # fmt: skip


def unsettle(connection: Connection, passages: Sequence[int]) -> bool:
    """Empty the fingerprints of what is visible with these passages, which are being written over; whether any is."""
    versions_, found = schema.versions, False
    for some in batches(passages):
        owners = select(documents_.c.published).where(
            documents_.c.key.in_(
                select(passages_.c.document).where(among(connection, passages_.c.key, some), passages_.c.visible)
            )
        )
        found |= bool(
            connection.execute(
                update(versions_)
                .where(versions_.c.key.in_(owners))
                .values(fingerprint=literal(UNSETTLED) + func.ltrim(versions_.c.fingerprint, UNSETTLED))
            ).rowcount
        )
    return found


def note_documents(connection: Connection, rows: Sequence[tuple[str, str, str]], run_id: str) -> None:
    """Put documents (id, name, uri) into the table and lock their rows; without a name, only their ids."""
    now = time.time()
    for named in (True, False):
        changed = ("name", "uri", "run_id", "updated_at") if named else ("updated_at",)
        upsert_rows(
            connection, documents_, ("id", "name", "uri", "status", "reason", "run_id", "updated_at"),
            [
                (document_id, name or document_id, uri, "pending", "", run_id, now)
                for document_id, name, uri in sorted({row[0]: row for row in rows}.values()) if bool(name) is named
            ],
            conflict="(id) DO UPDATE SET " + ", ".join(f"{column} = excluded.{column}" for column in changed),
        )  # fmt: skip


def lock_documents(connection: Connection, ids: Iterable[str]) -> dict[str, int]:
    """The keys of those documents that are in the table, which nobody else changes before this transaction ends."""
    keys: dict[str, int] = {}
    for some in batches(sorted(set(ids))):
        found = connection.execute(
            select(documents_.c.id, documents_.c.key).where(among(connection, documents_.c.id, some))
            .order_by(documents_.c.id).with_for_update(key_share=True)
        )  # fmt: skip
        keys.update((row.id, row.key) for row in found)
    return keys
