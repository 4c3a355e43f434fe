"""The index in PostgreSQL with pgvector: one schema per index, for any number of processes and machines."""

import threading
from collections.abc import Callable, Collection, Generator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

from sqlalchemy import Connection, Engine

from handlers.stores.pinning import pinned_version
from handlers.stores.postgres.opening import Address, open_engine, translated
from handlers.stores.postgres.search import Totals, build_vector_indexes, match_terms, nearest_vectors
from handlers.stores.ranking import TermQuery, VectorQuery
from handlers.stores.rows import Facet
from handlers.stores.sql import Limits, SqlIndexStore, look

HNSW_FROM = 50_000
"""Up to this many vectors, all are compared: at 30,000 that was as fast as an HNSW index, and it is exact."""


class PostgresIndexStore(SqlIndexStore):
    """An `IndexStore` in its own schema of the database at `url`, which names the index: `…/database?index=NAME`.

    Schema and tables are made on first use. Vectors are compared exactly until there are `hnsw_from` of them; then an
    HNSW index is built. It pickles as its URL.

    A lost connection, a deadlock or a server that is starting up raises `TransientError`; a refused password, an
    unknown database, a server without pgvector `FatalError`.
    """

    def __init__(self, url: str, *, hnsw_from: int = HNSW_FROM) -> None:
        self.address = Address.parse(url)
        self._url = url
        self._hnsw_from = hnsw_from
        self._opening = threading.Lock()
        self._engine: Engine | None = None
        self._totals = Totals()

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return (partial(PostgresIndexStore, hnsw_from=self._hnsw_from), (self._url,))

    def __repr__(self) -> str:
        return f"PostgresIndexStore({str(self.address)!r})"

    def close(self) -> None:
        with self._opening:
            if self._engine is not None:
                self._engine.dispose()
                self._engine = None

    def publish(self, versions: Mapping[str, str], *, expect: Collection[Facet] = ()) -> int:
        published = super().publish(versions, expect=expect)
        with translated(self.address), self._open().connect() as connection:
            look(connection, pinned_version(self))
            build_vector_indexes(connection, self.address.schema, at_least=self._hnsw_from)
        return published

    def _nearest(self, connection: Connection, query: VectorQuery, top_k: int, limits: Limits) -> dict[int, float]:
        return nearest_vectors(connection, query, top_k, limits, self._totals, hnsw_from=self._hnsw_from)

    def _matching(self, connection: Connection, query: TermQuery, top_k: int, limits: Limits) -> dict[int, float]:
        return match_terms(connection, query, top_k, limits, self._totals)

    def size_bytes(self) -> int:
        with self._read() as connection:
            return connection.exec_driver_sql(
                "SELECT coalesce(sum(pg_total_relation_size(oid)), 0)::bigint FROM pg_class "
                "WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace"
            ).scalar_one()

    @contextmanager
    def _begin_read(self) -> Generator[Connection]:
        # One snapshot for all statements, so that an answer never mixes states before and after a publication.
        engine = self._open().execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        with translated(self.address), engine.begin() as connection:
            yield connection

    @contextmanager
    def _begin_write(self) -> Generator[Connection]:
        with translated(self.address), self._open().begin() as connection:
            yield connection

    def _open(self) -> Engine:
        with self._opening:
            if self._engine is None:
                self._engine = open_engine(self.address)
            return self._engine
