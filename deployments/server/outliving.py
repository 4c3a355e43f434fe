"""A flow run goes on when its worker is killed, although the worker was the reader of its output."""

import os
import select
import stat
import threading
from collections.abc import Sequence
from functools import cache


@cache
def outlive_reader() -> None:
    """From now on, send stdout and stderr to the null device as soon as the process that reads them has ended.

    Otherwise the next line of the log would end the run: Rich, with which Prefect logs to the console, exits the
    process at a broken pipe. The records of the log still reach the Prefect server. Only pipes are watched, and only
    where the system can report that a reader is gone (not on Windows).
    """
    pipes = [number for number in (1, 2) if _is_pipe(number)]
    if pipes and hasattr(select, "poll"):
        threading.Thread(target=_watch, args=[pipes], name="braid-output", daemon=True).start()


def _is_pipe(number: int) -> bool:
    try:
        return stat.S_ISFIFO(os.fstat(number).st_mode)
    except OSError:  # it is closed
        return False


def _watch(pipes: Sequence[int]) -> None:
    readers = select.poll()
    for number in pipes:
        readers.register(number, 0)  # an error, here the end of the reader, is always reported
    readers.poll()
    with open(os.devnull, "wb") as null_device:
        for number in pipes:
            os.dup2(null_device.fileno(), number)
