"""The input of the checks from the author of a kind of source: a real place, which the checks change and break."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any, Literal, Protocol, TypeAlias

Fault: TypeAlias = Literal["busy", "expired", "cut", "half"]
"""The faults of a place: it once answers 429 with Retry-After; it refuses its token; it once breaks the connection in
the middle; or it cannot list everything.
"""


class Place(Protocol):
    """A real place of a kind of source: a repository, a server on this machine, a database."""

    url: str
    """The place, as passed to `braid ingest`."""
    options: Mapping[str, Any]
    faults: frozenset[Fault]
    """The faults that `broken` can produce; a place on this machine has none."""
    keeps_gone: bool
    """Whether documents that vanish from the listing are kept, since the listing is never complete."""

    def write(self, name: str, text: str) -> None:
        """Add a document, or replace its text; the token changes even if the text has the same length."""
        ...

    def remove(self, name: str) -> None: ...

    def broken(self, fault: Fault) -> AbstractContextManager[object]:
        """Produce the fault inside the block."""
        ...
