"""Reads all rows of a query, page by page in the order of a column."""

from collections.abc import Iterator
from typing import Any

from flows.author import Call
from handlers.data.binding import PLACEHOLDER, BadQuery
from handlers.data.connections import Connections
from handlers.data.sql import check_one_statement, fetch
from handlers.data.sql_rows import Bounds

_BOUNDS = Bounds(rows=1000, bytes=50_000_000, timeout_s=600.0)


def read_rows(connections: Connections, name: str, query: str, *, key: str) -> Iterator[list[dict[str, Any]]]:
    """The rows of a reading query; `key` is a column with unique values.

    Raises:
        BadQuery: Braid or the database refuses the query, the column or the result.
        TransientError: the database is unreachable or busy.
        UnknownName: there is no such connection.
    """
    engine = connections.engine(connections.url(name), read_only=True)
    column = engine.dialect.identifier_preparer.quote(key)
    check_one_statement(query)
    if PLACEHOLDER.search(query):
        raise BadQuery("the query of a source has a placeholder; write the value itself")
    inner = query.strip().rstrip(";")
    after: Any = None
    while True:
        condition = "" if after is None else f" WHERE {column} > {{after}}"
        statement = f"SELECT * FROM ({inner}\n) AS braid_rows{condition} ORDER BY {column} LIMIT {_BOUNDS.rows}"
        last = after
        rows = fetch(engine, statement, lambda _, last=last: last, Call(), bounds=_BOUNDS)
        if rows:
            yield rows
        if len(rows) < _BOUNDS.rows:
            return
        after = rows[-1][key]
