"""The input of the checks from the author of a kind of source: a real place, which the checks change and break."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any, Literal, Protocol, TypeAlias

Fault: TypeAlias = Literal["busy", "expired", "cut", "half"]
"""How a place fails: it answers 429 with Retry-After once; refuses its token; breaks the connection in the middle once;
or cannot list everything."""


class Place(Protocol):
    """A real place of a kind of source: a repository, a server on this machine, a database."""

    url: str
    """The place, as `braid ingest` gets it."""
    options: Mapping[str, Any]
    faults: frozenset[Fault]
    """Those that `broken` can bring about; a place on this machine has none."""
    keeps_gone: bool
    """Whether documents that vanish from the listing are kept, since it never shows everything."""

    def write(self, name: str, text: str) -> None:
        """Add a document, or replace its text; the token changes even if the text has the same length."""
        ...

    def remove(self, name: str) -> None: ...

    def broken(self, fault: Fault) -> AbstractContextManager[object]:
        """Bring the fault about while the context lasts."""
        ...
