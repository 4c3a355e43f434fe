"""What every writer of an index in SQL begins with: rows for documents and passages, and the change counter.

Every write locks the rows of its documents first, in order of their ids: writers of one document take turns, writers
of different documents go on, and none can wait for each other in a circle. (SQLite has one writer at a time anyway.)
"""

import time
from collections.abc import Iterable, Sequence

from sqlalchemy import Connection, func, literal, select, update

from handlers.records import Chunk
from handlers.stores import schema
from handlers.stores.dialects import upsert
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
    now = time.time()
    statement = upsert(connection, passages_)
    # A run that stages again what a crashed one left takes it over, so that nobody sweeps it away meanwhile.
    statement = statement.on_conflict_do_update(
        index_elements=["id"],
        set_={"run_id": statement.excluded.run_id, "staged_at": statement.excluded.staged_at},
        where=~passages_.c.visible & (passages_.c.run_id != statement.excluded.run_id),
    )
    rows = [
        {
            "id": each.id, "document": documents[each.document_id], "visible": False, "text": each.text, "facts": False,
            "run_id": run_id, "staged_at": now,
        }
        for each in {chunk.id: chunk for chunk in chunks}.values()
    ]  # fmt: skip
    if rows:
        connection.execute(statement, rows)
    keys: dict[str, int] = {}
    for some in batches(list(dict.fromkeys(chunk.id for chunk in chunks))):
        found = connection.execute(select(passages_.c.id, passages_.c.key).where(passages_.c.id.in_(some)))
        keys.update((row.id, row.key) for row in found)
    return keys


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
            documents_.c.key.in_(select(passages_.c.document).where(passages_.c.key.in_(some), passages_.c.visible))
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
        statement = upsert(connection, documents_)
        given = ("name", "uri", "run_id", "updated_at") if named else ("updated_at",)
        statement = statement.on_conflict_do_update(
            index_elements=["id"], set_={column: statement.excluded[column] for column in given}
        )
        values = [
            {
                "id": document_id, "name": name or document_id, "uri": uri, "status": "pending", "reason": "",
                "run_id": run_id, "updated_at": now,
            }
            for document_id, name, uri in sorted(rows) if bool(name) is named
        ]  # fmt: skip
        if values:
            connection.execute(statement, values)


def lock_documents(connection: Connection, ids: Iterable[str]) -> dict[str, int]:
    """The keys of those documents that are in the table, which nobody else changes before this transaction ends."""
    keys: dict[str, int] = {}
    for some in batches(sorted(set(ids))):
        found = connection.execute(
            select(documents_.c.id, documents_.c.key).where(documents_.c.id.in_(some)).order_by(documents_.c.id)
            .with_for_update(key_share=True)
        )  # fmt: skip
        keys.update((row.id, row.key) for row in found)
    return keys
