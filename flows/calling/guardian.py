"""Kill processes together with everything they started. Run as a program, it does so even after Braid itself was
killed.

Every process with workers starts one guardian, by its path. To keep it small, it imports only the standard library and
psutil. It also removes the files of calls that a killed process leaves behind.
"""

import contextlib
import os
import select
import shutil
import signal
import sys

import psutil

MARK = "BRAID_WORKER"
"""An environment variable whose value identifies the worker; every process that the worker starts inherits it."""
LOOK_AROUND_S = 1.0
END = b"end"
"""The last line of a process that ends in order, and removes its files itself."""


def kill_tree(pid: int, mark: str) -> None:
    """Kill a process, its descendants, its process group, and processes it started that have left both. This works
    even if the process itself is dead already.
    """
    found: list[psutil.Process] = []
    with contextlib.suppress(psutil.Error):
        worker = psutil.Process(pid)
        found = [worker, *worker.children(recursive=True)]
    if hasattr(os, "killpg"):
        # A worker leads a process group of its own, so its pid is also the id of the group.
        with contextlib.suppress(OSError):
            os.killpg(pid, signal.SIGKILL)
    for process in [*found, *(other for other in psutil.process_iter() if _carries_mark(other, mark))]:
        with contextlib.suppress(psutil.Error):
            process.kill()


def _carries_mark(process: psutil.Process, mark: str) -> bool:
    try:
        return process.environ().get(MARK) == mark
    except (psutil.Error, OSError):  # the process belongs to another user, or has ended
        return False


def watch(parent: int, folder: str) -> None:
    """Read `+ pid mark` and `- pid mark` from standard input; at its end kill the workers that are still listed.

    Unless the last line is `END`, remove the folder with the files of their calls.
    """
    workers: set[tuple[int, str]] = set()
    unread, ended = b"", False
    while not ended:
        ready, _, _ = select.select([0], [], [], LOOK_AROUND_S)
        if ready:
            got = os.read(0, 65536)
            if not got:
                break
            *lines, unread = (unread + got).split(b"\n")
            ended = END in lines
            for line in lines[: lines.index(END)] if ended else lines:
                sign, pid, mark = line.decode().split(" ")
                (workers.add if sign == "+" else workers.discard)((int(pid), mark))
        elif os.getppid() != parent:
            # A fork of the parent may hold the pipe open after its death.
            break
    for pid, mark in workers:
        kill_tree(pid, mark)
    if not ended:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    watch(int(sys.argv[1]), sys.argv[2])
