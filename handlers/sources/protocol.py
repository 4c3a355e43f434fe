"""The protocol of a kind of source: a listing with change tokens, page by page, and the content of each document."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from flows.errors import OrchestrationError
from flows.storage import PassedOver, Storage
from handlers.records import Fetched
from handlers.secrets import Secrets

if TYPE_CHECKING:
    from handlers.data import AllowedHosts, Connections


@dataclass(frozen=True)
class Listed:
    """A document in a listing."""

    uri: str
    """Its identity, below the root of the source and the same in every listing."""
    name: str
    """Its path below the root; globs are matched against it."""
    token: str | None = None
    """Changes whenever the content changes. Without one, size and time are compared, and in doubt the content."""
    size: int | None = None
    """Bytes, if that is known."""
    modified: float | None = None
    """Seconds since 1970."""
    mime_type: str = ""
    """Its media type, if the suffix of the name does not show it."""
    tags: Mapping[str, str | Sequence[str]] = field(default_factory=dict[str, "str | Sequence[str]"])
    """Its tags from the source, such as who may find it."""


Page: TypeAlias = Sequence[Listed | PassedOver]


class Source(Protocol):
    """One place where documents come from.

    Every method raises:
        TransientError: trying again may help, after `retry_after_s` if the service asks for it; the step retries.
        StorageUnusable: the source cannot be used at all, for example because its token has expired.
        MissingObject: this document is gone.
        StorageError: this document cannot be fetched; it is set aside, the others go on.
    """

    @property
    def root(self) -> str:
        """The canonical URI below which all its documents are."""
        ...

    def pages(self, wanted: Callable[[str], bool]) -> Iterator[Page]:
        """List everything, page by page, in any order; objects whose names are not `wanted` may be passed over.

        A listing that raises changes nothing. An incomplete listing yields `not_listed` for the folder (or the whole
        source) that it could not list; no document below it counts as deleted.
        """
        ...

    def fetch(self, uri: str, *, max_bytes: int | None = None) -> Fetched:
        """The current content of a listed document; another process may have listed it."""
        ...


def not_listed(root: str, reason: str, folder: str = "") -> PassedOver:
    """Marks a folder of a source, or the whole source, as incompletely listed."""
    return PassedOver(f"{root}/{folder}" if folder else root, f"{folder or '.'}/", "unlisted", reason)


class UnusableOption(OrchestrationError, ValueError):
    """A place or an option that a kind of source cannot use; the message has the form to use."""


@dataclass(frozen=True)
class Tools:
    """The tools that a run offers to its sources."""

    storage: Storage = field(default_factory=Storage)
    secrets: Secrets = field(default_factory=Secrets)
    connections: "Connections | None" = None
    private_hosts: Sequence[str] = ()
    """Patterns of hosts that may be reached although their addresses are private."""
    cache: Path | None = None
    """A folder that is kept between runs."""

    def hosts(self, *names: str) -> "AllowedHosts":
        """These hosts; private addresses only if the operator has allowed them."""
        from handlers.data import AllowedHosts

        return AllowedHosts(names, self.private_hosts)


Make: TypeAlias = Callable[..., Any]
