"""The process's own SIGTERM handler stays in force inside a flow that the process itself runs."""

import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any


def sigterm_handler() -> Any:
    """The process's own SIGTERM handler; None if it has none."""
    if threading.current_thread() is not threading.main_thread():
        return None
    handler = signal.getsignal(signal.SIGTERM)
    return handler if callable(handler) else None


@contextmanager
def handling_sigterm(handler: Any) -> Generator[None]:
    """Use `handler` for SIGTERM in the block; Prefect's own handler would end the process and report Crashed."""
    if handler is None:
        yield
        return
    before = signal.signal(signal.SIGTERM, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
