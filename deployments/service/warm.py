"""Indexes that stay open between questions, with the models that all of them share."""

import threading
import time
from collections import OrderedDict
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from deployments.indexes import require_index
from deployments.runs import load_handlers, make_services
from deployments.setting_values import index_name
from deployments.settings import Settings
from flows.state import Services

if TYPE_CHECKING:
    from flows.run_store import RunStore

MOST_OPEN = 16
_LOOKED_S = 5.0
"""Seconds for which an index in a database is assumed to exist; an index file is checked every time."""
_SQLITE = "sqlite:///"
_SHARED = ("embedder", "embedders", "reranker", "chat", "storage", "prices")


@dataclass
class _Open:
    services: Services
    identity: object
    looked: float = field(default_factory=time.monotonic)
    """When the index was last known to exist."""
    users: int = 0
    outdated: bool = False

    @cached_property
    def lent(self) -> Services:
        """The services with the open index, so that runs need not check that it exists."""
        return self.services.sharing({"index_store": self.services["index_store"]})


class WarmIndexes:
    """Services by index, opened at the first question; the least recently used one is closed first."""

    def __init__(self, settings: Settings, *, most: int = MOST_OPEN) -> None:
        self.settings = settings
        self._most = most
        self._lock = threading.Lock()
        self._open: OrderedDict[str, _Open] = OrderedDict()
        self._shared = make_services(settings, "default")

    @cached_property
    def runs(self) -> "RunStore":
        """The run store, open as long as the indexes are."""
        from flows.run_store import RunStore  # SQLAlchemy takes a while to import

        return RunStore(self.settings.run_store_url)

    def warm_up(self) -> None:
        """Load the handlers and the embedding model, so that the first question need not wait for them."""
        load_handlers(self.settings)
        self._shared["embedder"].embed_query("warm")

    @contextmanager
    def services(self, index: str) -> Generator[Services]:
        """The services of an index, which stay open at least until the block has ended.

        Raises:
            InvalidSettings: it cannot be the name of an index.
            UnknownName: there is no such index.
        """
        opened = self._take(index)
        try:
            yield opened.lent
        finally:
            self._give_back(opened)

    def __len__(self) -> int:
        return len(self._open)

    def close(self) -> None:
        with self._lock:
            for each in self._open.values():
                each.services.close()
            self._open.clear()
            self._shared.close()
            if "runs" in vars(self):
                self.runs.close()

    def _take(self, index: str) -> _Open:
        url = self.settings.index_location(index_name(index))
        with self._lock:
            known = self._open.get(index)
            if known is not None and self._is_same(index, url, known):
                known.users += 1
                self._open.move_to_end(index)
                return known
        require_index(self.settings, index)
        shared = {name: self._shared[name] for name in _SHARED}
        made = _Open(make_services(self.settings, index).with_objects(shared), _identity(url), users=1)
        with self._lock:
            before = self._open.pop(index, None)
            if before is not None:
                self._retire(before)
            self._open[index] = made
            while len(self._open) > self._most:
                self._retire(self._open.popitem(last=False)[1])
        return made

    def _is_same(self, index: str, url: str, known: _Open) -> bool:
        """Whether the open index is still the one with that name; it may have been deleted and created again."""
        if url.startswith(_SQLITE):
            return known.identity == _identity(url)
        if time.monotonic() - known.looked > _LOOKED_S:
            require_index(self.settings, index)
            known.looked = time.monotonic()
        return True

    def _give_back(self, opened: _Open) -> None:
        with self._lock:
            opened.users -= 1
            if opened.outdated and not opened.users:
                opened.services.close()

    @staticmethod
    def _retire(opened: _Open) -> None:
        opened.outdated = True
        if not opened.users:
            opened.services.close()


def _identity(url: str) -> object:
    if not url.startswith(_SQLITE):
        return url
    try:
        found = Path(url.removeprefix(_SQLITE)).stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino
