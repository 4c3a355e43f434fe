"""Whether trying again can help: any exception becomes transient or fatal, and says how long to wait if it knows."""

import traceback
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any, cast

from flows.author.registry import HandlerSpec
from flows.author.results import ErrorInfo, now
from flows.errors import FatalError, OrchestrationError, StepTimeout, TransientError

TRANSIENT_HTTP = frozenset({408, 425, 429})


def classified(spec: HandlerSpec, error: Exception) -> TransientError | FatalError:
    """The error that a handler's exception stands for; the handler's own `classify` is asked first."""
    own = spec.classify(error) if spec.classify is not None else None
    message = message_of(error)
    if own == "transient" or (own is None and may_pass(error)):
        return TransientError(message, retry_after_s=retry_after(error))
    if not isinstance(error, OrchestrationError):
        message = f"Handler '{spec.name}' threw exception: {message}"
    return FatalError(message)


def may_pass(error: BaseException) -> bool:
    """Whether trying again may help: timeouts, lost connections and HTTP 408, 425, 429 and 5xx may pass."""
    if isinstance(error, (TransientError, FatalError)):
        return isinstance(error, TransientError)
    if isinstance(error, (TimeoutError, ConnectionError)):
        return True
    status = http_status(error)
    if status is not None:
        return status in TRANSIENT_HTTP or status >= 500
    kinds = {kind.__name__ for kind in type(error).__mro__}
    # By name, so that no HTTP library has to be imported to be recognised.
    return not kinds.isdisjoint(
        {"TransportError", "ConnectError", "ConnectTimeout", "ReadTimeout", "PoolTimeout", "NetworkError"}
    )


def http_status(error: BaseException) -> int | None:
    """The status of the HTTP response behind an error, whichever library raised it."""
    response = getattr(error, "response", None)
    for holder in (error, response):
        for name in ("status_code", "status", "code"):
            status = getattr(holder, name, None)
            if isinstance(status, int) and 100 <= status < 600:
                return status
    return None


def retry_after(error: BaseException) -> float | None:
    """Seconds that the other side asks us to wait: `retry_after_s`, or a Retry-After header (a number or a date)."""
    direct = getattr(error, "retry_after_s", None)
    if isinstance(direct, (int, float)):
        return float(direct)
    headers = getattr(getattr(error, "response", None), "headers", None) or getattr(error, "headers", None)
    if not isinstance(headers, Mapping):
        return None
    pairs = cast("Mapping[str, Any]", headers)
    value = next((str(pairs[name]) for name in pairs if name.lower() == "retry-after"), None)
    if value is None:
        return None
    if value.strip().isdigit():
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - now())
    except ValueError:
        return None


def error_info(error: BaseException) -> ErrorInfo:
    """An error as plain text, its cause in front where that says more."""
    cause = error.__cause__
    if cause is None or isinstance(error, StepTimeout):
        cause = error
    said = message_of(error)
    notes = [note for note in getattr(error, "__notes__", ()) if note not in said]
    return ErrorInfo(type(cause).__name__, "; ".join([said, *notes]), isinstance(error, TransientError))


def traceback_text(error: BaseException) -> str:
    """The traceback, for the log."""
    return "".join(traceback.format_exception(error))


def message_of(error: BaseException) -> str:
    """What an error says, or what it is called if it says nothing."""
    return str(error) or type(error).__name__
