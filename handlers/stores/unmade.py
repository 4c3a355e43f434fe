"""An index that the first write creates, and that answers like an empty one until then."""

import threading
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from handlers.stores.memory import MemoryIndexStore
from handlers.stores.opening import POSTGRES_SCHEMES, open_index
from handlers.stores.protocol import IndexReader, IndexSearch, IndexUpkeep

_ON_NOTHING = frozenset(
    name for protocol in (IndexReader, IndexSearch, IndexUpkeep) for name in vars(protocol) if not name.startswith("_")
) | {"sources", "left_out", "forget_sources", "versions", "unfinished"}
"""The methods that leave an empty index empty; every other method creates the index."""


def index_exists(url_or_path: str) -> bool:
    """Whether the index of a path or URL exists; an index in memory always exists."""
    scheme = urlsplit(url_or_path).scheme if "://" in url_or_path else ""
    if scheme == "memory":
        return True
    if scheme in POSTGRES_SCHEMES:
        from handlers.stores.postgres import Address, names_in_database

        return Address.parse(url_or_path).index in names_in_database(url_or_path)
    return Path(url_or_path.removeprefix("sqlite:///")).exists()


class IndexMadeOnWrite:
    """An `IndexStore` that reading does not create, so that a run that fails before it writes leaves no index behind.

    It pickles as its URL.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._opened: Any = None
        self._empty = MemoryIndexStore()
        self._opening = threading.Lock()

    def __reduce__(self) -> tuple[type["IndexMadeOnWrite"], tuple[str]]:
        return (IndexMadeOnWrite, (self.url,))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        with self._opening:
            if self._opened is None and (name not in _ON_NOTHING or index_exists(self.url)):
                self._opened = open_index(self.url)
            return getattr(self._empty if self._opened is None else self._opened, name)

    def close(self) -> None:
        """Close the index if it was opened."""
        with self._opening:
            if self._opened is not None:
                self._opened.close()
