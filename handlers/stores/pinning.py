"""Selects the version of an index for a call: the active one, unless the call comes through a `PinnedIndex`."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from typing import Any

_pins: ContextVar[Mapping[int, str] | None] = ContextVar("_pins", default=None)


def pinned_version(store: object) -> str | None:
    """The name of the version for the current call; `None` for the active one."""
    return (_pins.get() or {}).get(id(store))


@contextmanager
def _pinned(store: object, version: str) -> Iterator[None]:
    token = _pins.set({**(_pins.get() or {}), id(store): version})
    try:
        yield
    finally:
        _pins.reset(token)


class PinnedIndex:
    """An `IndexStore` for one version of an index, whichever version is active; closing it leaves the wrapped store
    open.

    It reads only that version. Writes to the active version change every version. Writes to another version change only
    that one, except for removals, names, places and tags of documents, which are shared.
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
            # The wrapped store may itself be a proxy for a store that is opened later.
            with _pinned(getattr(found, "__self__", self.store), self.version):
                return found(*args, **options)

        return call

    def close(self) -> None:
        """Close nothing: the store belongs to whoever opened it."""
