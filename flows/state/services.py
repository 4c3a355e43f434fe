"""Services: live objects that a run shares (stores, models, storage), made on first use and never part of the state."""

import threading
from collections.abc import Callable, Mapping
from typing import Any

from flows.errors import UnknownName


class Services:
    """Named factories; each is called once per process, when a handler first asks for its service.

    Factories should be module-level callables (or partials of them) with plain arguments. Then the services can be
    used in another process, where they are made anew.
    """

    def __init__(self, factories: Mapping[str, Callable[[], Any]] | None = None) -> None:
        self._factories = dict(factories or {})
        self._made: dict[str, Any] = {}
        self._lock = threading.RLock()

    def __getitem__(self, name: str) -> Any:
        """The service of that name.

        Raises:
            UnknownName: no factory has that name.
        """
        with self._lock:
            if name not in self._made:
                if name not in self._factories:
                    raise UnknownName("service", name, self._factories)
                self._made[name] = self._factories[name]()
            return self._made[name]

    def __contains__(self, name: object) -> bool:
        return name in self._factories

    def with_factories(self, factories: Mapping[str, Callable[[], Any]]) -> "Services":
        """These services and more; services that were made already are made anew."""
        return Services({**self._factories, **factories})

    def close(self) -> None:
        """Close every service that was made and has a `close` method."""
        with self._lock:
            for service in self._made.values():
                close = getattr(service, "close", None)
                if callable(close):
                    close()
            self._made = {}

    def __getstate__(self) -> dict[str, Any]:
        return {"_factories": self._factories}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["_factories"])
