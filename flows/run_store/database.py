"""Opens the database of the run store, with the settings that SQLite needs, and migrates it to the newest tables."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from flows.errors import OrchestrationError
from flows.run_store.row_statements import as_json
from flows.run_store.tables import metadata
from flows.storage import private_file

HEAD = "0009"
"""The newest migration; a test compares it with the files."""
_LOCK = 7_264_915_001
"""An arbitrary number for PostgreSQL's advisory lock."""


class NewerRunStore(OrchestrationError):
    """The database belongs to a newer version of Braid."""


class UnusableRunStore(OrchestrationError):
    """The database cannot be opened; the message has its address, the reason and the settings."""


def open_database(url: str) -> sa.Engine:
    """An engine for `url`; for SQLite, the folder is created, writers wait for each other, and readers never wait.

    Raises:
        UnusableRunStore: the URL is invalid, its driver is missing, or its folder cannot be made.
    """
    with _explained(url):
        return _make_engine(url)


def _make_engine(url: str) -> sa.Engine:
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite":
        return sa.create_engine(url, pool_pre_ping=True, json_serializer=as_json)
    if parsed.database and parsed.database != ":memory:" and not parsed.database.startswith("file:"):
        private_file(Path(parsed.database))
    engine = sa.create_engine(url, connect_args={"timeout": 60}, json_serializer=as_json)

    def prepare(connection: Any, _: Any) -> None:
        cursor = connection.cursor()
        # The timeout comes first, since the change to WAL may have to wait for others who open the same new file.
        for pragma in ("busy_timeout=60000", "journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    event.listen(engine, "connect", prepare)
    return engine


@contextmanager
def durable_transaction(engine: sa.Engine) -> Generator[sa.Connection]:
    """A transaction that survives a power cut, with all transactions before it.

    Other transactions survive the end of the process, but SQLite syncs them later, so that steps do not wait for the
    disk.
    """
    if engine.dialect.name != "sqlite":
        with engine.begin() as connection:
            yield connection
        return
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA synchronous=FULL")
        connection.rollback()
        try:
            with connection.begin():
                yield connection
        finally:
            connection.exec_driver_sql("PRAGMA synchronous=NORMAL")


def migrate(engine: sa.Engine) -> None:
    """Migrate a database to the newest tables; several processes may do so at the same time.

    Raises:
        NewerRunStore: the database belongs to a newer version of Braid.
        UnusableRunStore: the database cannot be reached, read or written.
    """
    with _explained(engine.url.render_as_string(hide_password=True)):
        _migrate(engine)


def _migrate(engine: sa.Engine) -> None:
    with engine.connect() as connection:
        found = _revision(connection)
    if found == HEAD:
        return
    if found is not None and found > HEAD:
        url = engine.url.render_as_string(hide_password=True)
        raise NewerRunStore(
            f"the run store {url} has schema version {found}, but this Braid supports only "
            f"{HEAD}; update Braid, or set "
            "BRAID_DATABASE_URL to another database"
        )
    with engine.connect() as connection:
        _lock(connection)
        _upgrade(connection)
        connection.commit()


@contextmanager
def _explained(url: str) -> Generator[None]:
    """Turn an error while a database is opened into a message of one line."""
    try:
        yield
    except (OSError, SQLAlchemyError, ImportError) as error:
        try:
            shown = make_url(url).render_as_string(hide_password=True)
        except SQLAlchemyError:
            shown = repr(url) if "@" not in url else "that is given"  # a password may precede an @
        cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
        reason = " ".join(str(cause).split()) if not isinstance(cause, OSError) else str(cause)
        raise UnusableRunStore(
            f"the run store {shown} cannot be opened: {reason}; check BRAID_HOME, or BRAID_DATABASE_URL if it is set"
        ) from error


def _revision(connection: sa.Connection) -> str | None:
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()


def _lock(connection: sa.Connection) -> None:
    """Make other migrations wait until this transaction ends."""
    match connection.dialect.name:
        case "sqlite":
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        case "postgresql":
            connection.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        case _:
            pass


def _make_newest(connection: sa.Connection) -> None:
    """Create the newest tables in an empty database, with the same result as all migrations."""
    metadata.create_all(connection, checkfirst=False)
    version = sa.Table("alembic_version", sa.MetaData(), sa.Column("version_num", sa.String(32), nullable=False))
    version.append_constraint(sa.PrimaryKeyConstraint("version_num", name="alembic_version_pkc"))
    version.create(connection)
    connection.execute(sa.insert(version).values(version_num=HEAD))


def _upgrade(connection: sa.Connection) -> None:
    tables = sa.inspect(connection)
    if not tables.has_table("runs") and not tables.has_table("alembic_version"):
        _make_newest(connection)
        return
    from alembic import command  # importing it takes a third of a second, and it is needed only once per database
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    if _revision(connection) is None and tables.has_table("runs"):
        command.stamp(config, "0001")  # the database is older than the first migration
    command.upgrade(config, "head")
