"""The index that a path or URL names."""

import threading
from urllib.parse import urlsplit

from flows.errors import FatalError
from handlers.stores.memory import MemoryIndexStore
from handlers.stores.protocol import IndexStore

POSTGRES_SCHEMES = ("postgresql", "postgresql+psycopg", "postgres")
_in_memory: dict[str, MemoryIndexStore] = {}
_opening = threading.Lock()


def open_index(url_or_path: str) -> IndexStore:
    """The index at a path, `sqlite:///path`, `postgresql://user:password@host/database?index=name` or `memory://name`
    (one per process and name; it ends with the process).

    A picklable factory with `functools.partial(open_index, path)`; the file is made on first use.

    Raises:
        FatalError: a URL of another kind.
    """
    scheme = urlsplit(url_or_path).scheme if "://" in url_or_path else ""
    if scheme == "memory":
        with _opening:
            return _in_memory.setdefault(url_or_path, MemoryIndexStore())
    if scheme in POSTGRES_SCHEMES:
        from handlers.stores.postgres import PostgresIndexStore

        return PostgresIndexStore(url_or_path)
    path = url_or_path
    if scheme == "sqlite":
        path = url_or_path.removeprefix("sqlite:///")
    if (scheme and scheme != "sqlite") or not path or path.startswith("sqlite:"):
        shown = f"{scheme}://…" if "@" in url_or_path else url_or_path  # a password may precede an @
        raise FatalError(
            f"{shown!r} names no index; give a path, sqlite:///PATH, memory://NAME or "
            "postgresql://USER:PASSWORD@HOST/DATABASE?index=NAME"
        )
    from handlers.stores.sqlite import SqliteIndexStore  # SQLAlchemy takes a while to import

    return SqliteIndexStore(path)
