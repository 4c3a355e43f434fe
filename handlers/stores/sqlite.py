"""The index in one SQLite file: safe under threads and processes, nothing to install or start."""

import os
import sqlite3
import threading
from collections.abc import Callable, Collection, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError, OperationalError

from flows.errors import FatalError, TransientError
from handlers.filters import TagFilter
from handlers.records import Artifact, Chunk, Document, Embeddings, Entity, Hit, Relation, SparseVector
from handlers.stores import sqlite_graph, sqlite_reads, sqlite_writes
from handlers.stores.protocol import DocumentRow, DocumentStatus, Edge, Facet, FailedDocument, Mention
from handlers.stores.schema import APPLICATION_ID, SCHEMA_VERSION, metadata
from handlers.stores.snapshot import Snapshot


class SqliteIndexStore:
    """An `IndexStore` in the file `path`, made on first use. It pickles as its path.

    A write raises `TransientError` when other processes' writes hold the file for `busy_timeout_s`.
    """

    def __init__(self, path: str | os.PathLike[str], *, busy_timeout_s: float = 60.0) -> None:
        self.path = Path(path).absolute()
        self._busy_timeout_s = busy_timeout_s
        self._snapshot = Snapshot()
        # Writers of this process queue here, in turn and without polling; those of others at SQLite's own lock.
        self._writing = threading.Lock()
        self._opening = threading.Lock()
        self._engine: Engine | None = None

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return (partial(SqliteIndexStore, busy_timeout_s=self._busy_timeout_s), (str(self.path),))

    def close(self) -> None:
        with self._opening:
            if self._engine is not None:
                self._engine.dispose()
                self._engine = None

    def put_documents(
        self, documents: Sequence[Document], chunks: Sequence[Chunk], *, summaries: Mapping[str, str] | None = None,
        artifacts: Sequence[Artifact] = (), run_id: str = "", fingerprint: str = "",
    ) -> dict[str, str]:  # fmt: skip
        with self._write() as connection:
            return sqlite_writes.put_documents(
                connection, documents, chunks, summaries or {}, artifacts, run_id=run_id, fingerprint=fingerprint
            )

    def put_vectors(self, chunks: Sequence[Chunk], embeddings: Embeddings) -> int:
        with self._write() as connection:
            return sqlite_writes.put_vectors(connection, chunks, embeddings)

    def put_terms(self, chunks: Sequence[Chunk], sparse: Sequence[SparseVector]) -> int:
        with self._write() as connection:
            return sqlite_writes.put_terms(connection, chunks, sparse)

    def put_graph(self, chunks: Sequence[Chunk], entities: Sequence[Entity], relations: Sequence[Relation]) -> int:
        with self._write() as connection:
            return sqlite_graph.put_graph(connection, chunks, entities, relations)

    def publish(self, versions: Mapping[str, str], *, expect: Collection[Facet] = ()) -> int:
        for document_id, name in versions.items():
            with self._write() as connection:
                sqlite_writes.publish(connection, document_id, name, expect)
        return len(versions)

    def put_failures(self, failures: Sequence[FailedDocument], *, run_id: str = "") -> int:
        with self._write() as connection:
            return sqlite_writes.put_failures(connection, failures, run_id=run_id)

    def delete(self, document_ids: Sequence[str]) -> int:
        with self._write() as connection:
            return sqlite_writes.delete(connection, document_ids)

    def known(self, document_ids: Sequence[str]) -> dict[str, DocumentRow]:
        with self._read() as connection:
            return sqlite_reads.known(connection, document_ids)

    def documents(
        self, *, status: DocumentStatus | None = None, limit: int = 100, offset: int = 0
    ) -> list[DocumentRow]:
        with self._read() as connection:
            return sqlite_reads.documents(connection, status=status, limit=limit, offset=offset)

    def statistics(self) -> dict[str, int]:
        with self._read() as connection:
            return sqlite_reads.statistics(connection)

    def chunks_of(self, document_id: str) -> list[Chunk]:
        with self._read() as connection:
            return sqlite_reads.chunks_of(connection, document_id)

    def artifacts_of(self, document_id: str) -> list[Artifact]:
        with self._read() as connection:
            return sqlite_reads.artifacts_of(connection, document_id)

    def summary_of(self, document_id: str) -> str | None:
        with self._read() as connection:
            return sqlite_reads.summary_of(connection, document_id)

    def tags_of(self, document_ids: Iterable[str]) -> dict[str, tuple[tuple[str, str], ...]]:
        with self._read() as connection:
            return sqlite_reads.tags_of(connection, document_ids)

    def search_vectors(
        self, vector: np.ndarray, *, top_k: int = 50, model: str | None = None, where: TagFilter | None = None
    ) -> list[Hit]:
        with self._read() as connection:
            permitted = sqlite_reads.permitted_documents(connection, where)
            found = self._snapshot.nearest(connection, vector, top_k=top_k, model=model, permitted=permitted)
            return sqlite_reads.hits(connection, found, source="vector")

    def search_terms(
        self, counts: Mapping[str, float], *, top_k: int = 50, k1: float = 1.2, b: float = 0.75,
        where: TagFilter | None = None,
    ) -> list[Hit]:  # fmt: skip
        with self._read() as connection:
            permitted = sqlite_reads.permitted_documents(connection, where)
            found = self._snapshot.bm25(connection, counts, top_k=top_k, k1=k1, b=b, permitted=permitted)
            return sqlite_reads.hits(connection, found, source="keyword")

    def find_entities(self, names: Iterable[str], *, where: TagFilter | None = None) -> dict[str, str]:
        with self._read() as connection:
            return sqlite_graph.find_entities(connection, names, where=where)

    def neighbours(self, names: Iterable[str], *, limit: int = 1000, where: TagFilter | None = None) -> list[Edge]:
        with self._read() as connection:
            return sqlite_graph.neighbours(connection, names, limit=limit, where=where)

    def mentions(self, names: Iterable[str], *, where: TagFilter | None = None) -> list[Mention]:
        with self._read() as connection:
            return sqlite_graph.mentions(connection, names, where=where)

    def hits(self, scores: Mapping[str, float], *, source: str, where: TagFilter | None = None) -> list[Hit]:
        with self._read() as connection:
            permitted = sqlite_reads.permitted_documents(connection, where)
            found = sqlite_reads.passage_keys(connection, scores, permitted=permitted)
            return sqlite_reads.hits(connection, found, source=source)

    @contextmanager
    def _read(self) -> Generator[Connection]:
        # One transaction is one WAL snapshot: nothing published meanwhile gets into a half-read answer.
        with self._open().begin() as connection:
            yield connection

    @contextmanager
    def _write(self) -> Generator[Connection]:
        engine = self._open().execution_options(begin="BEGIN IMMEDIATE")
        try:
            with self._writing, engine.begin() as connection:
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


def _open_engine(path: Path, busy_timeout_s: float) -> Engine:
    path.parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(
        URL.create("sqlite", database=str(path)),
        connect_args={"timeout": busy_timeout_s, "check_same_thread": False},
        pool_size=8, max_overflow=64,
    )  # fmt: skip

    @event.listens_for(engine, "connect")
    def configure(connection: sqlite3.Connection, _record: object) -> None:  # pyright: ignore[reportUnusedFunction]
        connection.isolation_level = None  # the driver would begin transactions by itself, and too late
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA synchronous = NORMAL")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:  # pyright: ignore[reportUnusedFunction]
        connection.exec_driver_sql(connection.get_execution_options().get("begin", "BEGIN"))

    try:
        _prepare(engine, path)
    except BaseException:
        engine.dispose()
        raise
    return engine


def _prepare(engine: Engine, path: Path) -> None:
    """Make the tables of a new file, and refuse a file that is not ours.

    Raises:
        FatalError: another kind of file, or an index of another schema version.
    """
    try:
        with engine.connect() as connection:
            if _is_ours(connection, path):
                return
        # Kept in the file, and impossible inside a transaction. Two processes may both get here.
        raw = engine.raw_connection()
        raw.cursor().execute("PRAGMA journal_mode = WAL")
        raw.close()
        with engine.execution_options(begin="BEGIN IMMEDIATE").begin() as connection:
            if not _is_ours(connection, path):
                metadata.create_all(connection)
                connection.exec_driver_sql(f"PRAGMA application_id = {APPLICATION_ID}")
                connection.exec_driver_sql(f"PRAGMA user_version = {SCHEMA_VERSION}")
    except (sqlite3.DatabaseError, DBAPIError) as error:
        raise FatalError(f"{path} cannot be opened as an index: {error}") from error


def _is_ours(connection: Connection, path: Path) -> bool:
    """Whether the file is an index of our schema; false for an empty one."""
    version = connection.exec_driver_sql("PRAGMA user_version").scalar_one()
    application = connection.exec_driver_sql("PRAGMA application_id").scalar_one()
    if application == APPLICATION_ID and version == SCHEMA_VERSION:
        return True
    if not connection.exec_driver_sql("SELECT count(*) FROM sqlite_schema").scalar_one():
        return False
    kind = f"an index of schema version {version}" if application == APPLICATION_ID else "another database"
    raise FatalError(
        f"{path} is {kind}; this Braid needs schema version {SCHEMA_VERSION}: "
        "give another path, or delete the file and ingest again"
    )
