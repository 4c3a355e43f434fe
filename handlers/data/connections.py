"""Database connections by name: a pipeline has `source: sales`, the settings have the URL. Each is opened once and
shared.
"""

import re
import threading
from collections.abc import Callable, Mapping
from typing import Any

from flows.errors import FatalError, UnknownName
from handlers.data.extras import missing_extra
from handlers.data.reading import check_backend, hold_session, reset_sessions
from handlers.secrets import Secrets, hide

POOL_SIZE = 10
"""The most simultaneous connections to one database; further steps wait for a free one."""
_URL = re.compile(r"^[\w+.-]+://")


class BadConnection(FatalError):
    """A connection that cannot be opened; the message names it and never shows its URL."""


class Connections:
    """URLs of databases by name; each value is a URL or a reference to a secret that is one."""

    def __init__(self, urls: Mapping[str, str], secrets: Secrets | None = None) -> None:
        self._urls, self._secrets = dict(urls), secrets or Secrets()
        self._open: dict[tuple[str, str, bool], Any] = {}
        self._lock = threading.Lock()

    def url(self, name: str, credential_ref: str | None = None) -> str:
        """The URL of a connection.

        Raises:
            UnknownName: the settings have no such connection.
            BadConnection: the name is a URL.
            MissingSecret: there is no secret behind the reference.
        """
        if credential_ref is not None:
            return self._secrets(credential_ref)
        if _URL.match(name):
            raise BadConnection(
                "`source` is a URL; URLs hold passwords and stay out of pipelines: give it a name in "
                'BRAID_CONNECTIONS, for example {"sales": "postgresql+psycopg://…"}, and write `source: sales`'
            )
        if name not in self._urls:
            raise UnknownName("connection", name, self._urls, where="BRAID_CONNECTIONS")
        found = self._urls[name]
        return self._secrets(found) if self._secrets.is_reference(found) else found

    def engine(self, url: str, *, read_only: bool) -> Any:
        """A SQLAlchemy engine; with `read_only`, one whose connections cannot write."""
        return self._open_once("sql", url, read_only, lambda: _engine(url, read_only))

    def redis(self, url: str) -> Any:
        return self._open_once("redis", url, True, lambda: _redis(url))

    def mongo(self, url: str) -> Any:
        return self._open_once("mongo", url, True, lambda: _mongo(url))

    def close(self) -> None:
        with self._lock:
            for opened in self._open.values():
                (opened.dispose if hasattr(type(opened), "dispose") else opened.close)()
            self._open = {}

    def _open_once(self, kind: str, url: str, read_only: bool, connect: Callable[[], Any]) -> Any:
        with self._lock:
            key = (kind, url, read_only)
            if key not in self._open:
                try:
                    self._open[key] = connect()
                except (FatalError, ImportError):
                    raise
                except Exception as error:  # drivers raise all kinds of errors for a URL they cannot use
                    raise BadConnection(f"cannot be opened: {hide(str(error), [url])}") from None
            return self._open[key]


def _engine(url: str, read_only: bool) -> Any:
    import sqlalchemy as sa

    address = sa.make_url(url)
    backend = address.get_backend_name()
    if address.drivername == "postgresql":  # the driver that the extra installs, which SQLAlchemy 2.0 would not choose
        address = address.set(drivername="postgresql+psycopg")
    if read_only:
        check_backend(backend, address.get_driver_name())
    pool: dict[str, Any] = {"pool_size": POOL_SIZE, "max_overflow": 0, "pool_timeout": 30.0}
    if backend == "sqlite" and address.database in (None, "", ":memory:"):
        raise BadConnection("a SQLite database in memory is empty for every connection; name a file")
    if backend == "duckdb":
        try:
            import duckdb  # noqa: F401  # pyright: ignore[reportUnusedImport]
            import duckdb_engine  # noqa: F401  # pyright: ignore
        except ImportError as error:
            raise missing_extra("duckdb-engine", "data") from error
        # Allow only the database file itself, unless the connection's URL allows others.
        external = str(dict(address.query).get("enable_external_access", "false"))
        address = address.difference_update_query(["enable_external_access"])
        config = {"enable_external_access": external, "lock_configuration": "true"}
        return sa.create_engine(
            address, hide_parameters=True, connect_args={"read_only": read_only, "config": config}, **pool
        )
    if backend == "sqlite" and read_only:
        address = address.set(database=f"file:{_uri_path(str(address.database))}").update_query_dict(
            {"mode": "ro", "uri": "true"}
        )
    engine = sa.create_engine(address, hide_parameters=True, pool_pre_ping=True, **pool)
    reset_sessions(engine, backend)
    return hold_session(engine, backend) if read_only else engine


def _uri_path(path: str) -> str:
    from urllib.parse import quote

    return quote(path)


def _redis(url: str) -> Any:
    try:
        import redis
    except ImportError as error:
        raise missing_extra("redis", "data") from error
    return redis.Redis.from_url(url, decode_responses=True, max_connections=POOL_SIZE, socket_connect_timeout=10)


def _mongo(url: str) -> Any:
    try:
        import pymongo
    except ImportError as error:
        raise missing_extra("pymongo", "data") from error
    return pymongo.MongoClient(url, maxPoolSize=POOL_SIZE, serverSelectionTimeoutMS=10_000, tz_aware=True)
