"""Restricts a query to reading: one statement of a kind that reads, in a session that cannot write. Per backend:

| backend | restriction | |---|---| | SQLite | the file is opened for reading, an authorizer refuses all but reading,
the driver takes one statement | | PostgreSQL | the statement is that of a cursor in a read-only transaction, prepared,
so that it is one that reads | | DuckDB | the file is opened for reading, DuckDB's own parser finds one statement that
reads | | MySQL, MariaDB | a parser finds one statement that reads, and the session's transactions are read-only |

Of MySQL and MariaDB, only MariaDB is tested.

Some functions have side effects even in a reading statement: they take locks, read files of the server, or run a
statement given as text. Their names are refused. The rights of the connection's database role remain the final
protection.
"""

import re
from typing import Any, cast

from handlers.data.binding import BadQuery
from handlers.data.extras import missing_extra

MYSQL = ("mysql", "mariadb")
_DRIVERS = {"sqlite": ("pysqlite",), "postgresql": ("psycopg",), "duckdb": ("duckdb_engine",)}
ONLY_READS = (
    "queries are read-only: one statement that reads (SELECT, VALUES, WITH … SELECT), unless the step says "
    "`read_only: false`"
)
_GAP = r"""["`]?(?:\s|/\*.*?\*/|(?:--|\#)[^\n]*\n)*\("""
_ACTING = {
    "postgresql": (
        r"pg_(?:try_)?advisory_\w+|set_config|pg_(?:terminate|cancel)_backend|pg_(?:reload_conf|rotate_logfile|promote)|"
        r"pg_read_(?:binary_)?file|pg_ls_\w+|pg_stat_file|pg_notify|pg_switch_wal|pg_create_restore_point|"
        r"pg_logical_\w+|pg_\w+_replication_\w+|pg_export_snapshot|pg_backup_\w+|pg_(?:start|stop)_backup|"
        r"pg_wal_replay_(?:pause|resume)|pg_file_\w+|pg_log_\w+|postgres_fdw_disconnect\w*|query_export_to_s3|http_\w+|"
        r"pg_stat_(?:\w+_)?reset\w*|lo_\w+|loread|lowrite|dblink\w*|(?:query|cursor)_to_xml\w*|crosstab\w*|connectby|ts_stat"
    ),
    "mysql": r"service_(?:get|release)_\w+|asynchronous_connection_failover_\w+|group_replication_\w+|keyring_\w+|"
    r"audit_log_\w+|\w*firewall_\w+|version_tokens_\w+|(?:master|source)_(?:pos|gtid)_wait|load_file|(?:get|release|is_free|is_used)_(?:all_)?locks?|sys_(?:exec|eval|set)|(?:next|set|last)val",
}
_ACTING["mariadb"] = _ACTING["mysql"]
_ESCAPED_NAME = re.compile(r"\bU&\"", re.IGNORECASE)


def check_backend(backend: str, driver: str) -> None:
    """Refuse backends and drivers whose queries cannot be restricted to reading.

    Raises:
        BadQuery: it is one of those.
    """
    if backend in MYSQL or driver in _DRIVERS.get(backend, ()):
        return
    instead = f"use {backend}+{_DRIVERS[backend][0]}://, or " if backend in _DRIVERS else ""
    raise BadQuery(
        f"a query of {backend}+{driver} cannot be restricted to reading; {instead}give the connection a role that can "
        "only read, and set `read_only: false`"
    )


def check_reads(backend: str, text: str) -> None:
    """Refuse a statement that the backend itself would not restrict to reading; `text` has values for its placeholders.

    Raises:
        BadQuery: it has several statements, a statement that writes, or a function with side effects.
    """
    acting = _ACTING.get(backend)
    found = re.search(rf"\b({acting}){_GAP}", text, re.IGNORECASE | re.DOTALL) if acting else None
    if found:
        raise BadQuery(f"{found[1]}() does more than read; {ONLY_READS}")
    if backend == "postgresql" and _ESCAPED_NAME.search(text):
        raise BadQuery(f'names in the form U&"…" are not accepted, write the letters themselves; {ONLY_READS}')
    if backend == "duckdb":
        _check_duckdb(text)
    elif backend in MYSQL:
        _check_mysql(text)


def _check_duckdb(text: str) -> None:
    import duckdb

    try:
        statements = duckdb.extract_statements(text)
    except duckdb.Error as error:
        raise BadQuery(str(error)) from None
    if len(statements) != 1 or statements[0].type not in (
        duckdb.StatementType.SELECT,
        duckdb.StatementType.EXPLAIN,
    ):
        raise BadQuery(ONLY_READS)


def _check_mysql(text: str) -> None:
    try:
        import sqlglot
        from sqlglot.errors import SqlglotError
    except ImportError as error:
        raise missing_extra("sqlglot", "mysql") from error
    if re.search(r"/\*M?!", text):
        raise BadQuery(f"comments in the form /*! … */ are executed, and are not accepted; {ONLY_READS}")
    try:
        statements = [one for one in sqlglot.parse(text, dialect="mysql") if one is not None]
    except (SqlglotError, RecursionError) as error:
        raise BadQuery(
            f"the statement cannot be parsed, so it cannot be restricted to reading: {_first_line(error)}"
        ) from None
    tree = cast("Any", sqlglot).exp
    acts = (tree.DML, tree.DDL, tree.Command, tree.Into, tree.Lock, tree.PropertyEQ)
    reads = len(statements) == 1 and isinstance(statements[0], (tree.Query, tree.Show, tree.Describe))
    # Refuse DDL nodes in queries too, since a SELECT may end in INTO.
    if not reads or any(isinstance(node, acts) and not isinstance(node, tree.Query) for node in statements[0].walk()):
        raise BadQuery(ONLY_READS)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def hold_session(engine: Any, backend: str) -> Any:
    """The engine with read-only transactions, if the backend has them.

    Raises:
        FatalError: the backend refuses this mode.
    """
    from sqlalchemy import event

    if backend == "sqlite":
        event.listen(engine, "connect", _only_reads)
    elif backend in MYSQL:
        event.listen(engine, "connect", _only_transactions_that_read)
    elif backend == "postgresql":
        return engine.execution_options(postgresql_readonly=True)
    return engine


def reset_sessions(engine: Any, backend: str) -> None:
    """Reset roles, locks, variables and temporary tables of a session before another step uses it."""
    from sqlalchemy import event

    if backend == "postgresql":
        event.listen(engine, "checkin", _discard_all)


def _discard_all(connection: Any, record: Any) -> None:
    if connection is None:  # the connection is lost
        return
    try:
        connection.rollback()
        before, connection.autocommit = connection.autocommit, True
        connection.execute("DISCARD ALL")
        connection.autocommit = before
    except Exception:  # its state is unknown, so it is not used again
        record.invalidate()


def keeps_sessions(backend: str, *, read_only: bool) -> bool:
    """Whether later steps may reuse a session, because it keeps no state or its state is reset."""
    return backend == "postgresql" or (read_only and backend in ("sqlite", "duckdb"))


def _only_transactions_that_read(connection: Any, record: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET SESSION TRANSACTION READ ONLY")


def _only_reads(connection: Any, record: Any) -> None:
    """Make SQLite refuse every action except reading (including ATTACH and PRAGMA)."""
    import sqlite3

    allowed = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_RECURSIVE}

    def decide(action: int, first: str | None, second: str | None, database: str | None, trigger: str | None) -> int:
        harmless = action == sqlite3.SQLITE_FUNCTION and second not in ("load_extension", "writefile", "readfile")
        return sqlite3.SQLITE_OK if action in allowed or harmless else sqlite3.SQLITE_DENY

    connection.set_authorizer(decide)
