"""SQL: `{name}` becomes a bound parameter of SQLAlchemy where SQL allows a value, and is refused elsewhere."""

import datetime as dt
import re
from typing import Any

from flows.author import Call
from flows.errors import StepTimeout, TransientError
from handlers.data.binding import PLACEHOLDER, BadQuery, Lookup, bind_value
from handlers.data.reading import check_reads, keeps_sessions
from handlers.data.sql_rows import Bounds, QueryStopped, driver_error, execute, translated
from handlers.data.stopping import watched

_TOKEN = re.compile(
    r"""(?P<quoted>\b[eE]'(?:[^'\\]|''|\\.)*'|'(?:[^']|'')*'|"(?:[^"]|"")*"|`[^`]*`|\$(?P<tag>\w*)\$.*?\$(?P=tag)\$)
    |(?P<comment>--[^\n]*|/\*.*?\*/)
    |(?P<opened>\bIN\s*\(\s*)?\{(?P<name>[A-Za-z_]\w*(?:\.\w+)*)\}(?P<closed>\s*\))?""",
    re.VERBOSE | re.DOTALL | re.IGNORECASE,
)
# Places for the name of a table or column, where no database accepts a parameter.
_NAME_BEFORE = re.compile(
    r"(?:\b(?:FROM|JOIN|INTO|UPDATE|TABLE|BY|AS|COLLATE|SCHEMA|VIEW|INDEX)\s+|\.\s*)$", re.IGNORECASE
)
_VALUE_AFTER_FROM = re.compile(
    r"(?:\bDISTINCT\s+FROM|\b(?:EXTRACT|TRIM|SUBSTRING|OVERLAY)\s*\([^()]*\bFROM)\s+$", re.IGNORECASE
)
_NAME_AFTER = re.compile(r"\s*[.(]")
_COMMENTS = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)


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
                    f"{inside[0]} is inside quotes: {found['quoted']}; write {inside[0]} alone, it is "
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
        f"{placeholder} is used as the name of a table or column; parameters can only be "
        "values: write the name itself, "
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


def statement_text(sql: str) -> str:
    """The statement with a value in place of each placeholder, for parsers without support for parameters."""

    def fill(found: "re.Match[str]") -> str:
        if found["name"] is None:
            return found[0]
        after_in = found["opened"] or re.search(r"\bIN\s+$", sql[: found.start()], re.IGNORECASE)
        inside = "(NULL)" if after_in and not found["opened"] else "NULL"
        return f"{found['opened'] or ''}{inside}{found['closed'] or ''}"

    return _TOKEN.sub(fill, sql)


def check_one_statement(sql: str) -> None:
    """Refuse several statements in one text.

    Raises:
        BadQuery: there are several.
    """
    for found in re.finditer(rf"{_TOKEN.pattern}|;", sql, _TOKEN.flags):
        if found[0] == ";" and _COMMENTS.sub("", sql[found.end() :]).strip(" \t\r\n;"):
            raise BadQuery("a query is one statement; several of them are several steps")


def _escape_colons(sql: str) -> str:
    return sql.replace(":", r"\:")  # SQLAlchemy would take `:word` for a parameter, also within quotes


def fetch(engine: Any, sql: str, lookup: Lookup, call: Call, *, bounds: Bounds, read_only: bool = True) -> list[Any]:
    """The rows as dicts; for a statement without rows, the number of rows that it changed.

    Rows are counted and measured while they arrive. With `read_only`, the statement is restricted to reading.

    Raises:
        BadQuery: Braid or the database refuses it, or its result is larger than the bounds.
        TransientError: the database is unreachable or busy, or took longer than the bounds allow.
    """
    from sqlalchemy import exc

    backend = engine.dialect.name
    check_one_statement(sql)
    if read_only:
        check_reads(backend, statement_text(sql))
    statement, values = bind_statement(sql, lookup)
    if backend == "sqlite":
        values = {label: _as_sqlite_keeps(value) for label, value in values.items()}
    try:
        with engine.connect() as connection, watched(connection, call, bounds.timeout_s) as timed_out:
            try:
                with connection.begin():
                    found = execute(connection, statement, values, bounds=bounds, read_only=read_only, stop=timed_out)
            except (exc.DBAPIError, QueryStopped, driver_error(connection)) as error:
                if timed_out.is_set() or isinstance(error, QueryStopped):
                    raise StepTimeout(f"the query took longer than {bounds.timeout_s} s and was stopped") from None
                raise translated(error, read_only=read_only) from None
            finally:
                if not keeps_sessions(backend, read_only=read_only):
                    connection.invalidate()
            return found
    except exc.TimeoutError:
        raise TransientError("no connection became free in time; lower max_concurrency") from None
    except exc.DBAPIError as error:
        raise translated(error, read_only=read_only) from None
    except exc.SQLAlchemyError as error:
        raise BadQuery(f"{type(error).__name__}: {error}") from None


def _as_sqlite_keeps(value: Any) -> Any:
    """A date as text, as SQLite's driver stores it; the driver's own conversion is deprecated since Python 3.12."""
    match value:
        case list():
            return [_as_sqlite_keeps(each) for each in value]
        case dt.datetime():
            return value.isoformat(" ")
        case dt.date():
            return value.isoformat()
        case _:
            return value
