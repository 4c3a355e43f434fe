"""Processes that we started: recognised again later, and ended with all their descendants."""

import signal
from dataclasses import dataclass

import psutil

_STOP_S = 15.0
"""For processes to end when they are asked to."""


@dataclass(frozen=True)
class ChildProcess:
    """A process, identified by its number and the time at which it started: numbers are used again."""

    pid: int
    started: float

    @property
    def process(self) -> psutil.Process | None:
        """The process, if it still runs."""
        try:
            found = psutil.Process(self.pid)
            ours = abs(found.create_time() - self.started) < 1.0 and found.status() != psutil.STATUS_ZOMBIE
            return found if ours else None
        except psutil.NoSuchProcess:
            return None


def child_process(pid: int) -> ChildProcess:
    """The process that has the number now."""
    return ChildProcess(pid, psutil.Process(pid).create_time())


def stop_tree(child: ChildProcess) -> None:
    """End a process with its descendants; those that do not end when asked to are killed."""
    root = child.process
    if root is None:
        return
    family = [root, *_descendants(root)]
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
