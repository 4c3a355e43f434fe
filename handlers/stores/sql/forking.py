"""Copies versions of documents that both versions of an index share, before one of the two changes them.

Passages with their texts, vectors, terms and facts stay shared.
"""

from collections.abc import Sequence

from sqlalchemy import Connection, Table, insert, literal, select

from flows.state import chunked
from handlers.stores.sql import schema
from handlers.stores.sql.dialects import among, update_rows
from handlers.stores.sql.views import view_of

versions_ = schema.versions


def fork_versions(connection: Connection, versions: Sequence[int]) -> dict[int, int]:
    """Copy versions of documents and make the copies visible on this side; return the new keys by the old ones."""
    forked: dict[int, int] = {}
    for some in chunked(versions):
        forked |= _fork(connection, some)
    return forked


def _fork(connection: Connection, versions: Sequence[int]) -> dict[int, int]:
    view = view_of(connection)
    suffix = f" {view.name}"
    copied = [column for column in versions_.c if column.name not in ("key", "name")]
    connection.execute(
        insert(versions_).from_select(
            ["name", *(column.name for column in copied)],
            select(versions_.c.name + literal(suffix), *copied).where(among(connection, versions_.c.key, versions)),
        )
    )
    new = versions_.alias("new")
    rows = connection.execute(
        select(versions_.c.key, new.c.key.label("new"), versions_.c.document)
        .join(new, (new.c.document == versions_.c.document) & (new.c.name == versions_.c.name + literal(suffix)))
        .where(among(connection, versions_.c.key, versions))
    ).all()
    forked = {row.key: row.new for row in rows}
    for table in (schema.chunks, schema.tags, schema.artifacts):
        _copy_rows(connection, table, suffix, versions)
    update_rows(
        connection,
        schema.documents,
        "key",
        ("published" if view.side == 1 else "beside",),
        [(row.new, row.document) for row in rows],
    )
    return forked


def _copy_rows(connection: Connection, table: Table, suffix: str, versions: Sequence[int]) -> None:
    """Copy the rows of a table that belong to versions."""
    later = versions_.alias("later")
    columns = [column for column in table.c if column.name != "version"]
    connection.execute(
        insert(table).from_select(
            ["version", *(column.name for column in columns)],
            select(later.c.key, *columns)
            .select_from(table)
            .join(versions_, versions_.c.key == table.c.version)
            .join(
                later, (later.c.document == versions_.c.document) & (later.c.name == versions_.c.name + literal(suffix))
            )
            .where(among(connection, table.c.version, versions)),
        )
    )
