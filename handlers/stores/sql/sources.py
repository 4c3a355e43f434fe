"""The sources of an index in SQL, with the objects that they leave out and their balances."""

import json
import time
from collections.abc import Iterable

from sqlalchemy import ColumnElement, Connection, delete, select

from flows.state import chunked
from handlers.records import LeftOut
from handlers.stores.rows import SourceRecord
from handlers.stores.sql import schema
from handlers.stores.sql.dialects import insert_rows, upsert_rows
from handlers.stores.sql.transactions import Transactions

sources_, left_out_ = schema.sources, schema.left_out
_COLUMNS = ("uri", "pattern", "exclude", "tags", "is_folder", "run_id", "updated_at", "balance")
_REPLACED = ", ".join(f'"{name}" = excluded."{name}"' for name in _COLUMNS[2:])


class SqlSources(Transactions):
    """An `IndexSources`."""

    def sources(self) -> list[SourceRecord]:
        with self._read() as connection:
            rows = connection.execute(select(sources_).order_by(sources_.c.uri, sources_.c.pattern))
            return [
                SourceRecord(
                    row.uri,
                    row.pattern,
                    tuple(json.loads(row.exclude)),
                    tuple((name, value) for name, value in json.loads(row.tags)),
                    row.is_folder,
                    row.run_id,
                    row.updated_at,
                    json.loads(row.balance),
                )
                for row in rows
            ]

    def put_source(self, source: SourceRecord, left_out: Iterable[LeftOut] | None = None) -> None:
        written = [json.dumps(each, ensure_ascii=False) for each in (source.exclude, source.tags, dict(source.balance))]
        exclude, tags, balance = written
        row = (source.uri, source.pattern, exclude, tags, source.is_folder, source.run_id, time.time(), balance)
        with self._write() as connection:
            upsert_rows(connection, sources_, _COLUMNS, [row], conflict=f"(uri, pattern) DO UPDATE SET {_REPLACED}")
            if left_out is not None:
                _replace_left_out(connection, source, left_out)

    def forget_sources(self, sources: Iterable[tuple[str, str]]) -> int:
        with self._write() as connection:
            return sum(connection.execute(delete(sources_).where(_is(*each))).rowcount for each in sources)

    def left_out(
        self, uri: str, pattern: str, *, rule: str | None = None, limit: int = 100, offset: int = 0
    ) -> list[LeftOut]:
        query = select(left_out_).join(sources_, sources_.c.key == left_out_.c.source).where(_is(uri, pattern))
        if rule is None:
            query = query.where(left_out_.c.position >= offset)  # positions are counted from 0 without gaps
        else:
            query = query.where(left_out_.c.rule == rule).offset(offset)
        with self._read() as connection:
            rows = connection.execute(query.order_by(left_out_.c.position).limit(limit))
            return [LeftOut(row.uri, row.name, row.rule, row.reason) for row in rows]


def _is(uri: str, pattern: str) -> ColumnElement[bool]:
    return (sources_.c.uri == uri) & (sources_.c.pattern == pattern)


def _replace_left_out(connection: Connection, source: SourceRecord, left_out: Iterable[LeftOut]) -> None:
    key = connection.scalars(select(sources_.c.key).where(_is(source.uri, source.pattern))).one()
    connection.execute(delete(left_out_).where(left_out_.c.source == key))
    for some in chunked(enumerate(left_out)):
        rows = [(key, position, each.rule, each.name, each.uri, each.reason) for position, each in some]
        insert_rows(connection, left_out_, ("source", "position", "rule", "name", "uri", "reason"), rows)
