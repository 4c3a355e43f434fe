"""SIGTERM and SIGHUP end a command like Ctrl-C: the run is stopped, and finished steps are kept."""

import signal
from types import FrameType


def stop_on_signals() -> None:
    """Handle SIGTERM and SIGHUP like Ctrl-C, unless they are ignored (`nohup`) or already have another handler."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # A shell without job control lets its background jobs ignore Ctrl-C; asyncio would then not stop a run.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)  # Windows has no SIGHUP
        if number is not None and signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _as_ctrl_c)


def _as_ctrl_c(_: int, frame: FrameType | None) -> None:
    # Call the current handler of Ctrl-C; during a run that is asyncio's, which cancels its main task.
    interrupt = signal.getsignal(signal.SIGINT)
    if not callable(interrupt):
        raise KeyboardInterrupt
    interrupt(signal.SIGINT, frame)
