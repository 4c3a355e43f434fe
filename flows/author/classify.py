"""Classifies every exception as transient or fatal, and finds how long to wait before the next attempt."""

import traceback
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any, cast

from flows.author.registry import HandlerSpec
from flows.author.results import ErrorInfo, now
from flows.errors import FatalError, OrchestrationError, StepTimeout, TransientError, message_of

TRANSIENT_HTTP = frozenset({408, 425, 429})

OTHER_TRACEBACK = "_traceback_of_other_process"
"""The attribute that carries an error's traceback from the process in which it was raised."""


def classified(spec: HandlerSpec, error: Exception) -> TransientError | FatalError:
    """A handler's exception as a transient or fatal error, by the handler's own `classify` or the common rules."""
    message = message_of(error)
    try:
        own = spec.classify(error) if spec.classify is not None else None
    except Exception as broken:
        own = None
        message += f" (the handler's own classify failed: {type(broken).__name__}: {message_of(broken)})"
    if own == "transient" or (own is None and may_pass(error)):
        return TransientError(message, retry_after_s=retry_after(error))
    if not isinstance(error, OrchestrationError):
        message = f"Handler '{spec.name}' threw exception: {message}"
    return FatalError(message)


def may_pass(error: BaseException) -> bool:
    """Whether trying again may help: after timeouts, lost connections and HTTP 408, 425, 429 and 5xx."""
    if isinstance(error, (TransientError, FatalError)):
        return isinstance(error, TransientError)
    if isinstance(error, (TimeoutError, ConnectionError)):
        return True
    status = http_status(error)
    if status is not None:
        return status in TRANSIENT_HTTP or status >= 500
    kinds = {kind.__name__ for kind in type(error).__mro__}
    # By name, so that the errors of an HTTP library are recognised without importing it.
    return not kinds.isdisjoint(
        {"TransportError", "ConnectError", "ConnectTimeout", "ReadTimeout", "PoolTimeout", "NetworkError"}
    )


def http_status(error: BaseException) -> int | None:
    """The HTTP status of the response that caused an error of any HTTP library; None if there is none."""
    response = getattr(error, "response", None)
    for holder in (error, response):
        for name in ("status_code", "status", "code"):
            status = getattr(holder, name, None)
            if isinstance(status, int) and 100 <= status < 600:
                return status
    return None


def retry_after(error: BaseException) -> float | None:
    """The seconds that a service asks to wait: `retry_after_s`, or a Retry-After header (a number or a date)."""
    direct = getattr(error, "retry_after_s", None)
    if isinstance(direct, (int, float)):
        return float(direct)
    headers = getattr(getattr(error, "response", None), "headers", None) or getattr(error, "headers", None)
    if not isinstance(headers, Mapping):
        return None
    pairs = cast("Mapping[str, Any]", headers)
    value = next((str(pairs[name]) for name in pairs if name.lower() == "retry-after"), None)
    return None if value is None else parse_retry_after(value)


def parse_retry_after(header: str) -> float | None:
    """The seconds of a Retry-After header, which is a number or a date (RFC 9110, 10.2.3); None if it is neither."""
    try:
        return max(0.0, float(header))
    except ValueError:
        pass
    try:
        until = parsedate_to_datetime(header)
    except ValueError:
        return None
    return max(0.0, until.replace(tzinfo=until.tzinfo or UTC).timestamp() - now())


def error_info(error: BaseException) -> ErrorInfo:
    """An error as plain text; its kind is the type of its cause, if it has one."""
    cause = error.__cause__
    if cause is None or isinstance(error, StepTimeout):
        cause = error
    message = message_of(error)
    notes = [note for note in getattr(error, "__notes__", ()) if note not in message]
    return ErrorInfo(type(cause).__name__, "; ".join([message, *notes]), isinstance(error, TransientError))


def traceback_text(error: BaseException) -> str:
    """The traceback for the log; for an error from another process, the tracebacks of both processes."""
    other = vars(error).get(OTHER_TRACEBACK) if hasattr(error, "__dict__") else None
    text = "".join(traceback.format_exception(error))
    return text if not other else f"In the worker process:\n{other}\nIn this process:\n{text}"
