"""The rows of a statement, counted and measured while they arrive; and the translation of database errors."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from threading import Event
from typing import Any, cast

from flows.errors import TransientError
from handlers.data.binding import BadQuery
from handlers.data.reading import MYSQL, ONLY_READS
from handlers.data.references import to_plain_data, too_large
from handlers.data.stopping import stopper
from handlers.sqlstates import TRANSIENT_SQLSTATES

_NOT_OF_A_CURSOR = ("42601", "42P11", "0A000")
"""PostgreSQL's errors for statements that a cursor cannot read; the first is also the code of syntax errors."""


@dataclass(frozen=True)
class Bounds:
    """How much a result may hold, and how long it may take."""

    rows: int
    bytes: int
    timeout_s: float


class QueryStopped(Exception):
    """The statement was stopped, because its time is up or its result is no longer wanted."""


def execute(
    connection: Any, statement: Any, values: Mapping[str, Any], *, bounds: Bounds, read_only: bool, stop: Event
) -> list[Any]:
    """The rows of a statement, or the number of rows that it changed.

    Raises:
        BadQuery: its result is larger than the bounds.
        QueryStopped: `stop` was set meanwhile.
        DBAPIError: of SQLAlchemy, or the driver's own error.
    """
    backend = connection.dialect.name
    if backend == "sqlite":
        import sqlite3

        # No value may be larger than the limit of the whole result.
        connection.connection.driver_connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, max(bounds.bytes, 1_000_000))
    # One row at a time, because a few rows can reach the limit of the whole result.
    streamed = connection.execution_options(stream_results=read_only, max_row_buffer=1)
    result = streamed.execute(statement, values)
    if not result.returns_rows:
        return [{"rows_changed": result.rowcount}]
    try:
        return _bounded_rows(connection, result, bounds=bounds, cursor=backend == "postgresql" and read_only, stop=stop)
    finally:
        _let_go(connection, result)


def _bounded_rows(connection: Any, result: Any, *, bounds: Bounds, cursor: bool, stop: Event) -> list[Any]:
    names = [str(name) for name in result.keys()]  # noqa: SIM118  (not a mapping)
    double = sorted({name for name in names if names.count(name) > 1})
    if double:
        raise BadQuery(f"several columns of the result are named {double[0]!r}; name each with AS")
    found: list[Any] = []
    left, around = bounds.bytes, sum(len(name) + 4 for name in names)
    for row in _arriving(connection, result) if cursor else result:
        if stop.is_set():
            raise QueryStopped
        if len(found) == bounds.rows:
            raise BadQuery(f"the result has more than max_rows {bounds.rows} rows; add a LIMIT or raise max_rows")
        left -= around + sum(map(_least_size, row))
        if left < 0:
            raise too_large(bounds.bytes)
        found.append({name: to_plain_data(value) for name, value in zip(names, row, strict=True)})
    return found


def _arriving(connection: Any, result: Any) -> Iterator[Any]:
    """The rows of a PostgreSQL cursor in libpq's single-row mode, in which the server waits until a row is read."""
    from psycopg import sql

    first = result.fetchone()  # SQLAlchemy has already fetched this row, and no other
    if first is None:
        return
    yield first
    fetch_all = sql.SQL("FETCH ALL FROM {}").format(sql.Identifier(result.cursor.name))
    with connection.connection.driver_connection.cursor() as cursor:
        yield from cursor.stream(fetch_all)


def _least_size(value: Any) -> int:
    """A lower bound of the bytes of a value as JSON."""
    if isinstance(value, (str, bytes, bytearray)):
        return len(value)
    if isinstance(value, memoryview):
        return value.nbytes
    if isinstance(value, Mapping):
        return sum(len(str(key)) + _least_size(item) for key, item in cast("Mapping[Any, Any]", value).items())
    if isinstance(value, (list, tuple)):
        return sum(map(_least_size, cast("list[Any]", value)))
    return 1


def _let_go(connection: Any, result: Any) -> None:
    """Close a result without reading the remaining rows; with MySQL, the statement is stopped first."""
    if connection.dialect.name in MYSQL and result.cursor is not None:  # None after the last row
        stopper(connection)()
        with suppress(driver_error(connection)):
            while result.cursor.fetchone() is not None:
                pass
    result.close()


def driver_error(connection: Any) -> type[Exception]:
    """The error class of the driver, for rows that are read from it directly."""
    return connection.dialect.dbapi.Error


def translated(error: Exception, *, read_only: bool) -> Exception:
    """Our error, with the driver's message; SQLAlchemy's message would repeat the statement."""
    from sqlalchemy import exc

    own: Any = error.orig if isinstance(error, exc.DBAPIError) else error
    text, state = str(own).strip(), getattr(own, "sqlstate", None)
    if state is not None:
        transient = state.startswith(TRANSIENT_SQLSTATES)
    else:
        invalidated = isinstance(error, exc.DBAPIError) and error.connection_invalidated
        lost = invalidated or "locked" in text or type(own).__module__.startswith("psycopg")
        transient = isinstance(error, (exc.OperationalError, exc.InterfaceError)) and lost
        transient = transient and "authentication failed" not in text
    if state in _NOT_OF_A_CURSOR and read_only:
        text = f"{text}; {ONLY_READS}"
    return TransientError(text) if transient else BadQuery(text)
