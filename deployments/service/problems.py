"""Errors as problem details (RFC 9457), each with its cure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from deployments.service.access import Forbidden, Unknown
from deployments.service.originals import ChangedOriginal
from deployments.setting_values import InvalidIndexName, InvalidSettings
from flows.errors import AmbiguousName, FatalError, OrchestrationError, TransientError, UnknownName
from flows.model import InvalidParameters
from handlers.tags import InvalidTag

MEDIA_TYPE = "application/problem+json"


class Busy(TransientError):
    """Too many calls are waiting."""


class TooSlow(TransientError):
    """The time limit for an answer is over."""


class TooMany(TransientError):
    """The caller exceeds the rate limit."""


class UploadsOff(OrchestrationError, PermissionError):
    """This server accepts no uploads."""


class TooLarge(OrchestrationError, ValueError):
    """The request exceeds the size limit."""


class Unavailable(OrchestrationError):
    """A required component is not available: a Prefect server or a language model."""


class NotHere(OrchestrationError, LookupError):
    """The address does not exist."""


class CrossSite(OrchestrationError, PermissionError):
    """The request comes from a page of another site, or names a foreign host."""


@dataclass(frozen=True)
class Problem:
    """Problem details (RFC 9457), with the cure as an extension member."""

    status: int
    kind: str
    detail: str
    cure: str
    headers: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def title(self) -> str:
        return HTTPStatus(self.status).phrase

    def document(self, instance: str) -> dict[str, Any]:
        return {
            "type": f"urn:braid:problem:{self.kind}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "instance": instance,
            "cure": self.cure,
        }


KINDS: tuple[tuple[type[Exception], int, str, str], ...] = (
    (Unknown, 401, "token-needed", "Send a token: Authorization: Bearer TOKEN. `braid tokens add NAME` makes one."),
    (
        CrossSite,
        403,
        "cross-site",
        "Call from the server's own pages, or from a program, without Origin; names by "
        "which the server may be called are in BRAID_SERVE_HOSTS.",
    ),
    (Forbidden, 403, "not-permitted", "Use a token with this right; `braid tokens list` shows the rights of each."),
    (UploadsOff, 403, "uploads-off", "Set BRAID_SERVE_UPLOAD_MB on the server, or ingest the file from its folder."),
    (NotHere, 404, "no-such-address", "The addresses are listed at /docs."),
    (
        UnknownName,
        404,
        "unknown-name",
        "Correct the name, or look it up in the list of indexes, documents or runs.",
    ),
    (AmbiguousName, 409, "ambiguous-name", "Use one of the longer names, or the id."),
    (ChangedOriginal, 409, "changed-original", "Ingest the document again, then the new file can be fetched."),
    (TooLarge, 413, "too-large", "Send less; BRAID_SERVE_UPLOAD_MB limits uploads."),
    (InvalidParameters, 422, "invalid-parameters", "Correct the named parameter; /docs has all of them."),
    (InvalidIndexName, 422, "invalid-name", "Use the name of an index; GET /api/indexes lists them."),
    (InvalidTag, 422, "invalid-tag", "Write filters as a mapping from a tag's name to its values."),
    (TooMany, 429, "too-many-calls", "Wait for the seconds of Retry-After; BRAID_SERVE_RATE limits calls."),
    (Unavailable, 503, "unavailable", "Start the missing service, or set its address, then ask again."),
    (InvalidSettings, 503, "not-configured", "Correct the named setting of the server, then ask again."),
    (Busy, 503, "busy", "Wait for the seconds of Retry-After, then ask again."),
    (TooSlow, 504, "too-slow", "Ask again, or ask for fewer passages; BRAID_SERVE_TIMEOUT_S is the limit."),
    (TransientError, 503, "try-again", "Ask again in a little while."),
    (FatalError, 502, "failed", "The detail names the reason; `braid doctor` on the server finds more."),
    (OrchestrationError, 500, "failed", "The detail names the reason; `braid doctor` on the server finds more."),
)  # the first class that fits


def problem_of(error: Exception) -> Problem:
    """The problem details of an error for a caller; an unexpected error reveals no details."""
    for kind, status, name, cure in KINDS:
        if isinstance(error, kind):
            headers = {"WWW-Authenticate": "Bearer"} if status == 401 else {}
            wait_s = error.retry_after_s if isinstance(error, TransientError) else None
            if status in (429, 503) and isinstance(error, TransientError):
                headers["Retry-After"] = str(max(1, round(wait_s or 1)))
            return Problem(status, name, str(error), cure, headers)
    return Problem(500, "unexpected", "an unexpected error; the log of the server has it", "Report it to the operator.")
