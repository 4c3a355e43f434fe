"""The index in one SQLite file: safe under threads and processes, without installing or starting a server."""

import os
import sqlite3
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError, OperationalError

from flows.errors import FatalError, TransientError
from flows.storage import private_file
from handlers.stores.ranking import TermQuery, VectorQuery
from handlers.stores.sql import (
    APPLICATION_ID,
    SCHEMA_VERSION,
    Limits,
    SqlIndexStore,
    metadata,
    other_version,
    upgrades,
    view_of,
)
from handlers.stores.sqlite.snapshot import Snapshot

_READ_CACHE_KB, _WRITE_CACHE_KB = 2_000, 65_536


class SqliteIndexStore(SqlIndexStore):
    """An `IndexStore` in the file `path`, made on first use. It pickles as its path.

    A write raises `TransientError` if writes of other processes lock the file for `busy_timeout_s` seconds.
    """

    def __init__(self, path: str | os.PathLike[str], *, busy_timeout_s: float = 60.0) -> None:
        self.path = Path(path).absolute()
        self._busy_timeout_s = busy_timeout_s
        self._snapshots = {1: Snapshot(), 2: Snapshot()}
        """One for each side."""
        # Writers of this process queue here in order, without polling; writers of other processes wait for SQLite's own
        # lock.
        self._writing = threading.Lock()
        self._opening = threading.Lock()
        self._engine: Engine | None = None
        self._writer: Engine | None = None

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return (partial(SqliteIndexStore, busy_timeout_s=self._busy_timeout_s), (str(self.path),))

    def close(self) -> None:
        with self._opening:
            for engine in (self._engine, self._writer):
                if engine is not None:
                    engine.dispose()
            self._engine = self._writer = None

    def size_bytes(self) -> int:
        paths = [self.path.with_name(self.path.name + suffix) for suffix in ("", "-wal")]
        return sum(path.stat().st_size for path in paths if path.exists())

    def _nearest(self, connection: Connection, query: VectorQuery, top_k: int, limits: Limits) -> dict[int, float]:
        return self._snapshots[view_of(connection).side].nearest(connection, query, top_k, limits)

    def _matching(self, connection: Connection, query: TermQuery, top_k: int, limits: Limits) -> dict[int, float]:
        return self._snapshots[view_of(connection).side].matching(connection, query, top_k, limits)

    @contextmanager
    def _begin_read(self) -> Generator[Connection]:
        # One transaction is one WAL snapshot, so that an answer never mixes states before and after a publication.
        with self._open().begin() as connection:
            yield connection

    @contextmanager
    def _begin_write(self) -> Generator[Connection]:
        self._open()
        try:
            with self._writing, self._open_writer().begin() as connection:
                yield connection
        except OperationalError as error:
            if "locked" not in str(error.orig):
                raise
            raise TransientError(
                f"{self.path} was locked for {self._busy_timeout_s:g} s: another process writes"
            ) from error

    def _open(self) -> Engine:
        with self._opening:
            if self._engine is None:
                self._engine = _open_engine(self.path, self._busy_timeout_s)
            return self._engine

    def _open_writer(self) -> Engine:
        # One connection for all writes: only one large cache is needed, and it stays valid for the next write.
        with self._opening:
            if self._writer is None:
                engine = _make_engine(self.path, self._busy_timeout_s, cache_kb=_WRITE_CACHE_KB, pool_size=1)
                self._writer = engine.execution_options(begin="BEGIN IMMEDIATE")
            return self._writer


def may_be_index(path: str | os.PathLike[str]) -> bool:
    """Whether a file may be an index, of any schema version or damaged; false for a database of something else."""
    try:
        # Not read from the file's header, because the latest value may be in the WAL file beside it.
        connection = sqlite3.connect(f"{Path(path).absolute().as_uri()}?mode=ro", uri=True)
        try:
            return connection.execute("PRAGMA application_id").fetchone()[0] == APPLICATION_ID
        finally:
            connection.close()
    except sqlite3.Error:
        return True


def _open_engine(path: Path, busy_timeout_s: float) -> Engine:
    private_file(path)
    engine = _make_engine(path, busy_timeout_s, cache_kb=_READ_CACHE_KB, pool_size=8)
    try:
        _prepare(engine, path)
    except BaseException:
        engine.dispose()
        raise
    return engine


def _make_engine(path: Path, busy_timeout_s: float, *, cache_kb: int, pool_size: int) -> Engine:
    engine = create_engine(
        URL.create("sqlite", database=str(path)),
        connect_args={"timeout": busy_timeout_s, "check_same_thread": False},
        pool_size=pool_size,
        max_overflow=64,
    )

    @event.listens_for(engine, "connect")
    def configure(connection: sqlite3.Connection, _record: object) -> None:  # pyright: ignore[reportUnusedFunction]
        connection.isolation_level = None  # the driver would begin transactions itself, and too late
        connection.execute("PRAGMA foreign_keys = ON")
        # With NORMAL, a power cut could lose the last transactions, which the run store may already have recorded.
        connection.execute("PRAGMA synchronous = FULL")
        # Room for all pages that the terms of a batch touch; with the default of 2 MB, each page is written often.
        connection.execute(f"PRAGMA cache_size = -{cache_kb}")
        connection.execute(f"PRAGMA wal_autocheckpoint = {_WRITE_CACHE_KB // 4}")  # in pages of 4 kB

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:  # pyright: ignore[reportUnusedFunction]
        connection.exec_driver_sql(connection.get_execution_options().get("begin", "BEGIN"))

    return engine


def _prepare(engine: Engine, path: Path) -> None:
    """Create or upgrade the tables, and refuse a file that is not ours.

    Raises:
        FatalError: another kind of file, or an index of another schema version.
    """
    try:
        with engine.connect() as connection:
            if _is_ours(connection, path):
                return
        # The setting is stored in the file and cannot be changed inside a transaction. Two processes may both run this.
        raw = engine.raw_connection()
        raw.cursor().execute("PRAGMA journal_mode = WAL")
        raw.close()
        with engine.execution_options(begin="BEGIN IMMEDIATE").begin() as connection:
            if not _is_ours(connection, path):
                for statement in upgrades(_version(connection), "sqlite") or ():
                    connection.exec_driver_sql(statement)
                metadata.create_all(connection)
                connection.exec_driver_sql(f"PRAGMA application_id = {APPLICATION_ID}")
                connection.exec_driver_sql(f"PRAGMA user_version = {SCHEMA_VERSION}")
    except (sqlite3.DatabaseError, DBAPIError) as error:
        raise FatalError(f"{path} cannot be opened as an index: {error}") from error


def _is_ours(connection: Connection, path: Path) -> bool:
    """Whether the file is an index of our schema version; false for an empty file and for one that can be upgraded."""
    version = _version(connection)
    application = connection.exec_driver_sql("PRAGMA application_id").scalar_one()
    if application == APPLICATION_ID and version == SCHEMA_VERSION:
        return True
    if not connection.exec_driver_sql("SELECT count(*) FROM sqlite_schema").scalar_one():
        return False
    if application == APPLICATION_ID and upgrades(version, "sqlite") is not None:
        return False
    if application == APPLICATION_ID:
        raise FatalError(other_version(str(path), version, "file"))
    raise FatalError(f"{path} is another database; give another path, or delete the file and ingest again")


def _version(connection: Connection) -> int:
    return connection.exec_driver_sql("PRAGMA user_version").scalar_one()
