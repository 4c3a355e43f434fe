"""What every writer of the SQLite index begins with: rows for documents and passages, and the change counter."""

import time
from collections.abc import Iterable, Sequence

from sqlalchemy import Connection, select
from sqlalchemy.dialects.sqlite import insert as upsert

from handlers.records import Chunk
from handlers.stores import schema
from handlers.stores.sqlite_reads import batches

documents_, passages_ = schema.documents, schema.passages


def stage_passages(connection: Connection, chunks: Sequence[Chunk]) -> dict[str, int]:
    """Rows for chunks, whichever of the writers comes first; keys by chunk id."""
    documents = document_keys(connection, [chunk.document_id for chunk in chunks])
    missing = {chunk.document_id for chunk in chunks} - documents.keys()
    if missing:
        note_documents(connection, [(each, "", "") for each in sorted(missing)], "")
        documents.update(document_keys(connection, sorted(missing)))
    statement = upsert(passages_).on_conflict_do_nothing(index_elements=["id"])
    rows = [
        {"id": each.id, "document": documents[each.document_id], "visible": False, "text": each.text}
        for each in {chunk.id: chunk for chunk in chunks}.values()
    ]
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
        upsert(counters).values(name="data", value=1)
        .on_conflict_do_update(index_elements=["name"], set_={"value": counters.c.value + 1})
    )  # fmt: skip


def note_documents(connection: Connection, rows: Sequence[tuple[str, str, str]], run_id: str) -> None:
    """Put documents (id, name, uri) into the table; without a name, only their ids."""
    now = time.time()
    for document_id, name, uri in rows:
        statement = upsert(documents_).values(
            id=document_id,
            name=name or document_id,
            uri=uri,
            status="pending",
            reason="",
            run_id=run_id,
            updated_at=now,
        )
        named = {"name": name, "uri": uri, "run_id": run_id, "updated_at": now} if name else {"updated_at": now}
        connection.execute(statement.on_conflict_do_update(index_elements=["id"], set_=named))


def document_keys(connection: Connection, ids: Iterable[str]) -> dict[str, int]:
    """The keys of those documents that are in the table."""
    keys: dict[str, int] = {}
    for some in batches(list(dict.fromkeys(ids))):
        found = connection.execute(select(documents_.c.id, documents_.c.key).where(documents_.c.id.in_(some)))
        keys.update((row.id, row.key) for row in found)
    return keys
