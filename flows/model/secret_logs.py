"""Log records of this process without secrets, whichever logger and handler they go through."""

import logging
import threading
from typing import Any

from flows.model.secrecy import hide_secrets

_lock = threading.Lock()
_formatter = logging.Formatter()


def guard_logs() -> None:
    """Hide secrets in all log records from now on; calling it again changes nothing."""
    with _lock:
        before = logging.getLogRecordFactory()
        if getattr(before, "hides_secrets", False):
            return

        def make(*args: Any, **kwargs: Any) -> logging.LogRecord:
            return _cleaned(before(*args, **kwargs))

        make.hides_secrets = True  # pyright: ignore[reportFunctionMemberAccess]
        logging.setLogRecordFactory(make)


def _cleaned(record: logging.LogRecord) -> logging.LogRecord:
    try:
        message = record.getMessage()
    except Exception:  # the arguments do not fit the format; logging itself reports that
        return record
    clean = hide_secrets(message)
    if clean != message:
        record.msg, record.args = clean, None
    if record.exc_info and record.exc_info[0] is not None:
        text = _formatter.formatException(record.exc_info)
        clean = hide_secrets(text)
        if clean != text:
            record.exc_text, record.exc_info = clean, None
    return record
