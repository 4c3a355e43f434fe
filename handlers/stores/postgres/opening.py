"""Opens an index in PostgreSQL: its URL, schema and tables, and the translation of the server's errors."""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import URL, Engine, NullPool, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError

from flows.errors import FatalError, TransientError
from handlers.records import stable_id
from handlers.sqlstates import TRANSIENT_SQLSTATES
from handlers.stores.sql import SCHEMA_VERSION, metadata, other_version, upgrades

_PREFIX = "braid_"
_LONGEST_IDENTIFIER = 63
_LOCK = 0x42524149  # "BRAI": held while schemas, tables or extensions are created


@dataclass(frozen=True)
class Address:
    """A database and the name of an index in it."""

    url: URL
    index: str

    @classmethod
    def parse(cls, url: str) -> "Address":
        """The address that `postgresql+psycopg://USER:PASSWORD@HOST/DATABASE?index=NAME` stands for.

        Raises:
            FatalError: it is not a URL, or names no index; the message has no password.
        """
        try:
            parsed = make_url(url).set(drivername="postgresql+psycopg")
        except ArgumentError as error:
            raise FatalError("the URL of a PostgreSQL index is not a URL") from error
        name = parsed.query.get("index")
        if not isinstance(name, str) or not name:
            shown = parsed.render_as_string(hide_password=True)
            raise FatalError(f"{shown!r} names no index; add ?index=NAME")
        return cls(parsed.difference_update_query(["index"]), name)

    @property
    def schema(self) -> str:
        """The schema of the index: its name, shortened with a digest if it is too long for PostgreSQL."""
        full = f"{_PREFIX}{self.index}"
        if len(full.encode()) <= _LONGEST_IDENTIFIER:
            return full
        return f"{full[:40]}_{stable_id(self.index)[:16]}"

    def __str__(self) -> str:
        return f"{self.url.render_as_string(hide_password=True)} index {self.index!r}"


@contextmanager
def translated(address: Address) -> Generator[None]:
    """Turn the server's errors into ours if another try or another setting could help; other errors stay unchanged."""
    try:
        yield
    except DBAPIError as error:
        state: str | None = getattr(error.orig, "sqlstate", None)
        if state is None and not error.connection_invalidated and type(error).__name__ != "OperationalError":
            raise
        message = str(error.orig).strip().split("\n")[0]
        if state is None or state.startswith(TRANSIENT_SQLSTATES) or error.connection_invalidated:
            if any(
                word in message for word in ("password", "no pg_hba.conf entry", "does not exist", "permission denied")
            ):
                raise FatalError(f"{address} cannot be opened: {message}; check BRAID_INDEX_URL") from error
            raise TransientError(f"{address} could not be reached or was busy: {message}") from error
        if state.startswith(("28", "3D", "42501")):
            raise FatalError(f"{address} cannot be opened: {message}; check BRAID_INDEX_URL") from error
        raise


def open_engine(address: Address) -> Engine:
    """An engine whose connections find the tables of the index; the tables are created if missing.

    Raises:
        FatalError: psycopg or pgvector is missing, or the index has another schema version.
        TransientError: the server cannot be reached.
    """
    try:
        from pgvector.psycopg import register_vector
    except ImportError as error:
        raise FatalError(
            "an index in PostgreSQL needs the packages psycopg and pgvector: pip install 'braid-pipelines[postgres]'"
        ) from error
    with translated(address):
        extension = _prepare(address)
    path = ", ".join(_quoted(name) for name in dict.fromkeys((address.schema, extension, "public")))
    # Not prepared, because a generic plan would not use a vector index, which exists per model.
    engine = create_engine(
        address.url, pool_size=8, max_overflow=24, pool_pre_ping=True, connect_args={"prepare_threshold": None}
    )

    @event.listens_for(engine, "connect")
    def configure(connection: Any, _record: object) -> None:  # pyright: ignore[reportUnusedFunction]
        connection.autocommit = True
        connection.execute(f"SET search_path TO {path}")
        register_vector(connection)
        connection.autocommit = False

    return engine


def names_in_database(url: str) -> list[str]:
    """All indexes in the database of this URL."""
    address = Address.parse(url)
    engine = create_engine(address.url, poolclass=NullPool)
    with translated(address), engine.connect() as connection:
        found = connection.execute(
            text(
                "SELECT substr(obj_description(oid, 'pg_namespace'), length(:mark) + 1) FROM pg_namespace "
                "WHERE nspname LIKE :prefix AND obj_description(oid, 'pg_namespace') LIKE :mark || '%'"
            ),
            {"mark": _MARK, "prefix": _PREFIX.replace("_", "\\_") + "%"},
        )
        return sorted(found.scalars())


def drop_index(url: str) -> bool:
    """Remove the index of this URL with all its content; return whether it existed."""
    address = Address.parse(url)
    if address.index not in names_in_database(url):
        return False
    engine = create_engine(address.url, poolclass=NullPool)
    with translated(address), engine.begin() as connection:
        connection.exec_driver_sql(f"DROP SCHEMA {_quoted(address.schema)} CASCADE")
    return True


_MARK = "Braid index "


def _prepare(address: Address) -> str:
    """Create missing extension, schema and tables; return the schema of the extension."""
    engine = create_engine(address.url, poolclass=NullPool)
    schema = _quoted(address.schema)
    with engine.begin() as connection:
        ready = connection.execute(
            text("SELECT to_regclass(:table) IS NOT NULL"), {"table": f"{schema}.counters"}
        ).scalar_one()
        if not ready:
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        extension = connection.execute(text(_EXTENSION)).scalar()
        if extension is None:
            extension = _create_extension(connection, address)
        if not ready:
            mark = f"{_MARK}{address.index}".replace("'", "''")
            connection.exec_driver_sql(f"CREATE SCHEMA IF NOT EXISTS {schema}")
            connection.exec_driver_sql(f"COMMENT ON SCHEMA {schema} IS '{mark}'")
        path = ", ".join(_quoted(name) for name in (address.schema, extension))
        connection.exec_driver_sql(f"SET LOCAL search_path TO {path}")
        if not ready:
            # Looked for by name in the search path; the public tables of others are not in it.
            metadata.create_all(connection.execution_options(schema_translate_map={None: address.schema}))
            connection.execute(
                text("INSERT INTO counters (name, value) VALUES ('schema', :version) ON CONFLICT DO NOTHING"),
                {"version": SCHEMA_VERSION},
            )
        version = connection.execute(text("SELECT value FROM counters WHERE name = 'schema'")).scalar()
        if version != SCHEMA_VERSION and upgrades(version, "postgresql") is not None:
            version = _upgrade(connection, address.schema)
    if version != SCHEMA_VERSION:
        raise FatalError(other_version(str(address), version, "index"))
    return extension


def _upgrade(connection: Any, schema: str) -> int:
    """Upgrade the tables to the newest schema version; a second process finds it done."""
    found = connection.execute(text("SELECT value FROM counters WHERE name = 'schema' FOR UPDATE")).scalar_one()
    for statement in upgrades(found, "postgresql") or ():
        connection.exec_driver_sql(statement)
    metadata.create_all(connection.execution_options(schema_translate_map={None: schema}))
    connection.execute(text("UPDATE counters SET value = :new WHERE name = 'schema'"), {"new": SCHEMA_VERSION})
    return SCHEMA_VERSION


_EXTENSION = (
    "SELECT n.nspname FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'vector'"
)


def _create_extension(connection: Any, address: Address) -> str:
    there = "SELECT count(*) FROM pg_available_extensions WHERE name = 'vector'"
    if not connection.execute(text(there)).scalar_one():
        raise FatalError(f"{address}: the server has no pgvector; install it there (its extension is called 'vector')")
    try:
        connection.exec_driver_sql("CREATE EXTENSION IF NOT EXISTS vector")
    except DBAPIError as error:
        raise FatalError(
            f"{address}: the extension 'vector' cannot be made by this user; let an administrator of the database "
            "run: CREATE EXTENSION vector"
        ) from error
    return connection.execute(text(_EXTENSION)).scalar_one()


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
