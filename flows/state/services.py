"""Services: live objects that the steps of a run share (stores, models, storage), made on first use."""

import threading
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from flows.errors import UnknownName


class UnknownService(UnknownName):
    """A handler asks for a service that the run does not have."""

    def __str__(self) -> str:
        return f"{super().__str__()}; give it to the run: run(…, services={{{self.name!r}: …}})"


class Services:
    """Named factories; each is called once per process, when a handler first asks for its service.

    Factories should be module-level callables (or partials of them) with plain arguments. Then other processes can use
    the services, and create their own instances. `objects` are existing services: handlers receive them unchanged, and
    their creator closes them.
    """

    def __init__(
        self,
        factories: Mapping[str, Callable[[], Any]] | None = None,
        *,
        objects: Mapping[str, Any] | None = None,
    ) -> None:
        self._factories = dict(factories or {})
        self._objects = dict(objects or {})
        self._made: dict[str, Any] = {}
        self._lock = threading.RLock()
        self._below: Services | None = None

    def __getitem__(self, name: str) -> Any:
        """The service of that name.

        Raises:
            UnknownService: there is none of that name.
        """
        if name in self._objects:
            return self._objects[name]
        with self._lock:
            if name not in self._made:
                if name not in self._factories:
                    raise UnknownService("service", name, [*self._factories, *self._objects])
                self._made[name] = self._factories[name]()
            return self._made[name]

    def __contains__(self, name: object) -> bool:
        return name in self._factories or name in self._objects

    @property
    def given(self) -> frozenset[str]:
        """The names of the services that existed already."""
        return frozenset(self._objects)

    def with_factories(self, factories: Mapping[str, Callable[[], Any]]) -> "Services":
        """These services and more; services that were already created are created again."""
        return Services({**self._factories, **factories}, objects=self._objects)

    def with_objects(self, objects: Mapping[str, Any]) -> "Services":
        """The same services plus `objects`, which stay open; services created so far are not carried over."""
        return Services(self._factories, objects={**self._objects, **objects})

    def sharing(self, objects: Mapping[str, Any]) -> "Services":
        """A view of these services with `objects` added. Both share the services that either creates, so do not close
        the view.
        """
        names = [*self._factories, *self._objects]
        return Services({name: partial(self.__getitem__, name) for name in names}, objects=objects)

    def replacing(self, objects: Mapping[str, Any]) -> "Services":
        """These services with some replaced by `objects`. Closing the result closes these services too."""
        found = self.sharing(objects)
        found._below = self
        return found

    def close(self) -> None:
        """Close every service that was made and has a `close` method."""
        with self._lock:
            if self._below is not None:
                self._made = {}
                self._below.close()
            for service in self._made.values():
                close = getattr(service, "close", None)
                if callable(close):
                    close()
            self._made = {}

    def __getstate__(self) -> dict[str, Any]:
        return {"_factories": self._factories, "_objects": self._objects}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["_factories"], objects=state["_objects"])
