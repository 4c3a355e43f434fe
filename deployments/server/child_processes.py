"""Processes that Braid started: recognising them later, and ending them with all their descendants."""

import contextlib
import os
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import psutil

MARK = "STARTED_BY_BRAID_UP"
"""The environment variable with the folder of `braid up`; it identifies its processes, including orphans."""
FLOW_RUN = "PREFECT__FLOW_RUN_ID"
"""The variable that a worker of Prefect sets for the process of a flow run."""
_STOP_S = 15.0
"""Seconds for processes to end after SIGTERM."""


@dataclass(frozen=True)
class ChildProcess:
    """A process, identified by its pid and start time, since pids are reused."""

    pid: int
    started: float

    @property
    def process(self) -> psutil.Process | None:
        """The process if it still runs, else None."""
        try:
            found = psutil.Process(self.pid)
            ours = abs(found.create_time() - self.started) < 1.0 and found.status() != psutil.STATUS_ZOMBIE
            return found if ours else None
        except psutil.NoSuchProcess:
            return None


def child_process(pid: int) -> ChildProcess:
    """The process that has this pid now."""
    return ChildProcess(pid, psutil.Process(pid).create_time())


def stop_tree(child: ChildProcess) -> None:
    """End a process with its descendants; processes that ignore SIGTERM are killed."""
    root = child.process
    if root is not None:
        _stop([root, *_descendants(root)])


def stop_marked(folder: str, *, besides: ChildProcess | None = None) -> int:
    """End every process that the `braid up` of a folder has started, directly or not; return how many there were.

    The process `besides` and its descendants stay.
    """
    root = besides.process if besides is not None else None
    kept = {os.getpid(), *([root.pid, *(each.pid for each in _descendants(root))] if root is not None else [])}
    found = [process for process, mark in _with_variable(MARK) if mark == folder and process.pid not in kept]
    _stop(found)
    return len(found)


def flow_runs_here() -> frozenset[str]:
    """The ids of the flow runs that have a process on this machine, as far as this user may see."""
    return frozenset(value for _, value in _with_variable(FLOW_RUN))


def _with_variable(name: str) -> Iterator[tuple[psutil.Process, str]]:
    """The running processes that have a variable in their environment, with its value."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            value = process.environ().get(name)
            if value is not None and process.status() != psutil.STATUS_ZOMBIE:
                yield process, value


def _stop(family: Sequence[psutil.Process]) -> None:
    for process in family:
        _signal(process, signal.SIGTERM)
    _, left = psutil.wait_procs(family, timeout=_STOP_S)
    for process in left:
        _signal(process, signal.SIGKILL)
    psutil.wait_procs(left, timeout=5)


def _descendants(root: psutil.Process) -> list[psutil.Process]:
    try:
        return root.children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _signal(process: psutil.Process, number: int) -> None:
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return
