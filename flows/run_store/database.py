"""The database of the run store: opened with what SQLite needs, and brought to the newest tables by its migrations."""

from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import make_url

from flows.errors import OrchestrationError

HEAD = "0005"
"""The newest migration; a test holds it against the files."""
_LOCK = 7_264_915_001
"""Any number of our own, for PostgreSQL's advisory lock."""


class NewerRunStore(OrchestrationError):
    """The database was made by a newer Braid than this one."""


def open_database(url: str) -> sa.Engine:
    """An engine for `url`; a SQLite file gets its folder, waits for other writers, and lets readers go on."""
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite":
        return sa.create_engine(url, pool_pre_ping=True)
    if parsed.database and parsed.database != ":memory:":
        Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
    engine = sa.create_engine(url, connect_args={"timeout": 60})

    def prepare(connection: Any, _: Any) -> None:
        cursor = connection.cursor()
        # First, since even the change to WAL has to wait for others who open the same new file.
        for pragma in ("busy_timeout=60000", "journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    event.listen(engine, "connect", prepare)
    return engine


def migrate(engine: sa.Engine) -> None:
    """Bring a database to the newest tables; many processes may do this at the same time.

    Raises:
        NewerRunStore: a newer Braid has been here.
    """
    with engine.connect() as connection:
        found = _revision(connection)
    if found == HEAD:
        return
    if found is not None and found > HEAD:
        shown = engine.url.render_as_string(hide_password=True)
        raise NewerRunStore(
            f"the run store {shown} is at version {found}, this Braid knows {HEAD}; update Braid, or set "
            "BRAID_DATABASE_URL to another database"
        )
    with engine.connect() as connection:
        _lock(connection)
        _upgrade(connection)
        connection.commit()


def _revision(connection: sa.Connection) -> str | None:
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()


def _lock(connection: sa.Connection) -> None:
    """Let others who want to migrate wait until this transaction ends."""
    match connection.dialect.name:
        case "sqlite":
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        case "postgresql":
            connection.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        case _:
            pass


def _upgrade(connection: sa.Connection) -> None:
    from alembic import command  # a third of a second, and needed once a database
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    if _revision(connection) is None and sa.inspect(connection).has_table("runs"):
        command.stamp(config, "0001")  # made before there were migrations
    command.upgrade(config, "head")
