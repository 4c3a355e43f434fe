"""The caller of a request, and its access: everything, or the documents whose tags match."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from flows.errors import OrchestrationError
from handlers.tags import TagFilter


class Forbidden(OrchestrationError, PermissionError):
    """The caller is known but lacks the right to do this; the message names the right."""


class Unknown(OrchestrationError, PermissionError):
    """The caller sent no token, or one that is no longer valid."""


@dataclass(frozen=True)
class Caller:
    """The caller of a request. `tags` limits the documents that exist for them; None means all.

    A document exists for them if it has, for every name in `tags`, one of its values.
    """

    name: str
    tags: Mapping[str, Sequence[str]] | None = field(default_factory=dict[str, Sequence[str]])
    """None: everything is visible. An empty mapping would hide everything; callers never have it."""
    may_ingest: bool = False

    @property
    def sees_everything(self) -> bool:
        return self.tags is None

    @property
    def where(self) -> TagFilter | None:
        """The filter for every question to a store; None lets everything through."""
        if self.tags is None:
            return None
        return TagFilter.of(self.tags) if self.tags else NOTHING

    @property
    def access(self) -> dict[str, list[str]] | None:
        """The parameter `access` of search pipelines."""
        where = self.where
        return None if where is None else {name: list(values) for name, values in where.wanted}

    def require_everything(self, what: str) -> None:
        """Refuse a caller who is limited by tags.

        Raises:
            Forbidden: the caller is limited by tags.
        """
        if not self.sees_everything:
            raise Forbidden(f"{what} may concern any document, so they need a token that sees everything")

    def require_ingest(self) -> None:
        """Refuse a caller who may not start ingestions and other runs.

        Raises:
            Forbidden: the caller lacks this right.
        """
        if not (self.may_ingest and self.sees_everything):
            raise Forbidden(
                "this token may not start ingestions; make one that may: braid tokens add NAME --everything --ingest"
            )


NOTHING = TagFilter((("nothing", ()),))
"""A filter that matches no document: a name without permitted values."""
OWNER = Caller("owner", tags=None, may_ingest=True)
"""The user of this machine, if no tokens are in use."""
