"""SQL: `{name}` becomes a bound parameter of SQLAlchemy, wherever a value may stand, and is refused elsewhere."""

import datetime as dt
import re
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread
from time import monotonic
from typing import Any

from flows.author import Call
from flows.errors import StepTimeout, TransientError
from handlers.data.binding import PLACEHOLDER, BadQuery, Lookup, bind_value
from handlers.data.references import to_plain_data
from handlers.sqlstates import TRANSIENT_SQLSTATES

_TOKEN = re.compile(
    r"""(?P<quoted>'(?:[^']|'')*'|"(?:[^"]|"")*"|`[^`]*`|\$(?P<tag>\w*)\$.*?\$(?P=tag)\$)
    |(?P<comment>--[^\n]*|/\*.*?\*/)
    |(?P<opened>\bIN\s*\(\s*)?\{(?P<name>[A-Za-z_]\w*(?:\.\w+)*)\}(?P<closed>\s*\))?""",
    re.VERBOSE | re.DOTALL | re.IGNORECASE,
)
# Where the name of a table or column stands: no database takes a parameter there.
_NAME_BEFORE = re.compile(
    r"(?:\b(?:FROM|JOIN|INTO|UPDATE|TABLE|BY|AS|COLLATE|SCHEMA|VIEW|INDEX)\s+|\.\s*)$", re.IGNORECASE
)
_VALUE_AFTER_FROM = re.compile(
    r"(?:\bDISTINCT\s+FROM|\b(?:EXTRACT|TRIM|SUBSTRING|OVERLAY)\s*\([^()]*\bFROM)\s+$", re.IGNORECASE
)
_NAME_AFTER = re.compile(r"\s*[.(]")
_WATCH_S = 0.1


def check_sql(sql: str) -> None:
    """Refuse placeholders that cannot be parameters.

    Raises:
        BadQuery: one stands for a name, or within quotes.
    """
    for found in _TOKEN.finditer(sql):
        if found["quoted"] is not None:
            inside = PLACEHOLDER.search(found["quoted"])
            if inside and found["quoted"][0] == "'":
                raise BadQuery(
                    f"{inside[0]} stands within quotes: {found['quoted']}; write {inside[0]} alone, it is "
                    "bound as a parameter (a text with more in it is joined as 'a' || {b})"
                )
            if inside:
                raise BadQuery(_name_is_refused(inside[0]))
        elif found["name"] is not None:
            before, after = sql[: found.start()], sql[found.end() :]
            names = _NAME_BEFORE.search(before) and not _VALUE_AFTER_FROM.search(before)
            if not found["opened"] and (names or (not found["closed"] and _NAME_AFTER.match(after))):
                raise BadQuery(_name_is_refused("{" + found["name"] + "}"))


def _name_is_refused(placeholder: str) -> str:
    return (
        f"{placeholder} stands for a name of a table or column; parameters are values only: write the name itself, "
        "or choose between several queries with a switch step"
    )


def bind_statement(sql: str, lookup: Lookup) -> tuple[Any, dict[str, Any]]:
    """The statement with its parameters, and their values; lists after IN are expanded.

    Raises:
        BadQuery: a placeholder or a value cannot be a parameter.
    """
    import sqlalchemy as sa

    check_sql(sql)
    parts: list[str] = []
    values: dict[str, Any] = {}
    expanding: list[str] = []
    position = 0
    for found in _TOKEN.finditer(sql):
        parts.append(_escape_colons(sql[position : found.start()]))
        position = found.end()
        if found["name"] is None:
            parts.append(_escape_colons(found[0]))
            continue
        label, value = f"p{len(values)}", bind_value(found["name"], lookup)
        values[label] = value
        after_in = found["opened"] or re.search(r"\bIN\s+$", sql[: found.start()], re.IGNORECASE)
        if isinstance(value, list) and after_in:
            expanding.append(label)
            if found["opened"] and found["closed"]:  # an expanded list brings its own parentheses
                parts.append(f"IN :{label}")
                continue
        parts.append(f"{found['opened'] or ''}:{label}{found['closed'] or ''}")
    parts.append(_escape_colons(sql[position:]))
    statement = sa.text("".join(parts))
    return statement.bindparams(*(sa.bindparam(label, expanding=True) for label in expanding)), values


def _escape_colons(sql: str) -> str:
    return sql.replace(":", r"\:")  # SQLAlchemy would take `:word` for a parameter, also within quotes


def fetch(engine: Any, sql: str, lookup: Lookup, call: Call, *, most_rows: int, timeout_s: float) -> list[Any]:
    """The rows as dicts; for a statement without rows, the number of rows that it changed.

    Raises:
        BadQuery: it is refused, by us or by the database, or has more than `most_rows` rows.
        TransientError: the database is away or busy, or took longer than `timeout_s`.
    """
    from sqlalchemy import exc

    statement, values = bind_statement(sql, lookup)
    if engine.dialect.name == "sqlite":
        values = {label: _as_sqlite_keeps(value) for label, value in values.items()}
    try:
        with engine.begin() as connection, _watched(connection, call, timeout_s) as timed_out:
            try:
                return _rows(connection.execute(statement, values), most_rows)
            except exc.DBAPIError as error:
                if timed_out.is_set():
                    raise StepTimeout(f"the query took longer than {timeout_s} s and was stopped") from None
                raise _translated(error) from None
    except exc.TimeoutError:
        raise TransientError("no connection became free in time; lower max_concurrency") from None
    except exc.DBAPIError as error:
        raise _translated(error) from None
    except exc.SQLAlchemyError as error:
        raise BadQuery(f"{type(error).__name__}: {error}") from None


def _as_sqlite_keeps(value: Any) -> Any:
    """A date as the text that SQLite's driver made of it, which it is about to stop (deprecated in Python 3.12)."""
    match value:
        case list():
            return [_as_sqlite_keeps(each) for each in value]
        case dt.datetime():
            return value.isoformat(" ")
        case dt.date():
            return value.isoformat()
        case _:
            return value


def _rows(result: Any, most_rows: int) -> list[Any]:
    if not result.returns_rows:
        return [{"rows_changed": result.rowcount}]
    names = [str(name) for name in result.keys()]  # noqa: SIM118  (not a mapping)
    double = sorted({name for name in names if names.count(name) > 1})
    if double:
        raise BadQuery(f"several columns of the result are named {double[0]!r}; name each with AS")
    rows = result.fetchmany(most_rows + 1)
    if len(rows) > most_rows:
        raise BadQuery(f"the result has more than max_rows {most_rows} rows; add a LIMIT or raise max_rows")
    return [{name: to_plain_data(value) for name, value in zip(names, row, strict=True)} for row in rows]


def _translated(error: Any) -> Exception:
    """The driver's own message; SQLAlchemy's would repeat the statement."""
    from sqlalchemy import exc

    text = str(error.orig).strip()
    state = getattr(error.orig, "sqlstate", None)
    if state is not None:
        transient = state.startswith(TRANSIENT_SQLSTATES)
    else:
        lost = error.connection_invalidated or "locked" in text or type(error.orig).__module__.startswith("psycopg")
        transient = isinstance(error, (exc.OperationalError, exc.InterfaceError)) and lost
        transient = transient and "authentication failed" not in text
    return TransientError(text) if transient else BadQuery(text)


@contextmanager
def _watched(connection: Any, call: Call, timeout_s: float) -> Iterator[Event]:
    """Interrupt the statement in the database when its time is up or its result is no longer wanted."""
    driver = connection.connection.driver_connection
    stop = next(
        (getattr(driver, name) for name in ("interrupt", "cancel_safe", "cancel") if hasattr(driver, name)), None
    )
    ended, timed_out = Event(), Event()
    until = monotonic() + timeout_s

    def watch() -> None:
        while not ended.wait(_WATCH_S):
            if call.cancelled or monotonic() > until:
                timed_out.set()
                if stop is not None:
                    stop()
                return

    watcher = Thread(target=watch, name="braid-sql-watch", daemon=True)
    watcher.start()
    try:
        yield timed_out
    finally:
        ended.set()
        watcher.join()
