"""Which version of an index a call is for: the active one, unless the call comes through a `PinnedIndex`."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from typing import Any

_pins: ContextVar[Mapping[int, str] | None] = ContextVar("_pins", default=None)


def pinned_version(store: object) -> str | None:
    """The name of the version that the call under way is for; `None` for the active one."""
    return (_pins.get() or {}).get(id(store))


@contextmanager
def _pinned(store: object, version: str) -> Iterator[None]:
    token = _pins.set({**(_pins.get() or {}), id(store): version})
    try:
        yield
    finally:
        _pins.reset(token)


class PinnedIndex:
    """An `IndexStore` that is one version of an index, whichever is active; what it wraps stays open.

    It reads only that version. If that is the active one, what is written lands in every version; else only in this
    one, but for what belongs to documents as such: their removal, names, places and tags.
    """

    def __init__(self, store: Any, version: str) -> None:
        self.store, self.version = store, version

    def __reduce__(self) -> tuple[type["PinnedIndex"], tuple[Any, str]]:
        return (PinnedIndex, (self.store, self.version))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        found = getattr(self.store, name)
        if not callable(found):
            return found

        @wraps(found)
        def call(*args: Any, **options: Any) -> Any:
            # What is wrapped may itself stand for a store that is opened later.
            with _pinned(getattr(found, "__self__", self.store), self.version):
                return found(*args, **options)

        return call

    def close(self) -> None:
        """Close nothing: the store belongs to whoever opened it."""
