"""Handlers that run in a process of their own; a module, so that the worker can import them."""

import ctypes
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

from flows.author import Call, handler
from flows.errors import TransientError
from flows.state import Context

SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]


@handler(writes="worker_pid", isolation="process")
def tell_pid(text: str) -> int:
    return os.getpid()


@handler(isolation="process")
def write_in_a_process(context: Context) -> None:
    context.data["pid"] = os.getpid()
    context.data["seen"].append(context.data["text"])


@handler(isolation="process", price=lambda units: units["tokens"] / 10)
def spend_and_spin(*, call: Call) -> None:
    call.report_cost(tokens=5)
    while True:
        pass


@handler(isolation="process")
def spend_and_fail(*, call: Call) -> None:
    call.report_cost(tokens=7)
    call.fail_item("a.pdf", "no text")
    raise ValueError("broken")


@handler(isolation="process", effects=())
def stuck(*, how: str, folder: str) -> None:
    """Never return, in one of many ways; each started process is recorded in `folder`, in a file of its own."""
    if how in ("children", "orphans"):
        # In its own session, so that it belongs to no group of ours, and with a parent that may have ended.
        child = subprocess.Popen(SLEEP, start_new_session=how != "children")
        (Path(folder) / str(child.pid)).touch()
    if how == "orphans":
        script = (
            f"import subprocess\nprint(subprocess.Popen({SLEEP!r}, start_new_session=True, stdout=-3, stderr=-3).pid)"
        )
        made = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
        (Path(folder) / made.stdout.strip()).touch()
    if how == "deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    (Path(folder) / str(os.getpid())).touch()
    if how == "regex":
        re.match(r"(a+)+$", "a" * 64 + "b")
    elif how == "gil":
        ctypes.PyDLL(None).sleep(600)
    else:
        time.sleep(600)


@handler(isolation="process", effects=())
def die(*, how: str, call: Call) -> None:
    call.report_cost(tokens=3)
    match how:
        case "segfault":
            signal.signal(signal.SIGSEGV, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGSEGV)
        case "exit 0" | "exit 3":
            os._exit(int(how[-1]))
        case "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        case "sys.exit":
            sys.exit(7)
        case "raise":
            raise ValueError("not a number")
        case "odd error":
            raise OddError("one", "two")
        case "transient":
            raise TransientError("busy", retry_after_s=0)
        case "timeout":
            raise TimeoutError("the other side did not answer")
        case "unpicklable":
            raise ValueError(lambda: 1)
        case _:
            raise AssertionError(how)


class OddError(Exception):
    """Can be pickled, but not unpickled."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(f"{first} and {second}")
