"""The records of one run in the run store."""

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import psutil

HEARTBEAT_S = 10.0
"""Seconds between two heartbeats of a run."""
SILENT_S = 90.0
"""After this long without a heartbeat, a run on another machine counts as dead."""


@dataclass(frozen=True)
class RunRecord:
    """A run; its `status` is `running` until it ends.

    A stopped run is `cancelled`, a run whose process is gone has `crashed`; these are the states on the Prefect
    server, too.
    """

    run_id: str
    pipeline: str
    fingerprint: str
    index: str
    parameters: Mapping[str, Any]
    status: str
    started: float
    seconds: float | None = None
    busy_seconds: float | None = None
    cost: Mapping[str, float] | None = None
    chain: str = ""
    """The id of the first run in the chain of runs that resume each other."""
    resumed_from: str | None = None
    flow_run_id: str | None = None
    """The id of its Prefect flow run, if it has one."""
    file: str | None = None
    """The file that the pipeline was read from."""
    yaml: str | None = None
    """The pipeline as native YAML, usually in the part of YAML that is JSON."""
    host: str | None = None
    process: int | None = None
    process_started: float | None = None
    heartbeat: float | None = None

    @property
    def lasted(self) -> float:
        """Seconds from the start of the run to its end, or to its last heartbeat if it is running or was killed."""
        if self.seconds is not None:
            return self.seconds
        return max(0.0, (self.heartbeat or self.started) - self.started)

    def seen(self, now: float) -> "RunRecord":
        """The record for display: a run whose process is gone shows as crashed, even if that is not recorded yet."""
        return replace(self, status="crashed") if self.status == "running" and not self.is_alive(now) else self

    def is_alive(self, now: float) -> bool:
        """Whether the run has not ended and its process still exists, as far as this machine can find out."""
        return self.status == "running" and not self.has_lost_its_process(now)

    def has_lost_its_process(self, now: float) -> bool:
        """Whether the process of the run is gone, as far as this machine can find out; the run may have ended."""
        if self.host == socket.gethostname() and self.process is not None:
            return not _is_running(self.process, self.process_started)
        return self.heartbeat is None or now - self.heartbeat >= SILENT_S


@dataclass(frozen=True)
class RunningBranch:
    """A step that has started but not ended."""

    path: str
    step_id: str
    started: float
    done: int | None = None
    """Items done of `total`, as its handler reported."""
    total: int | None = None
    heard: float | None = None
    """The time of that report."""
    stuck: bool = False
    """Whether it has made no progress for longer than expected."""


@dataclass(frozen=True)
class ProcessIdentity:
    """The identity of a process, so that other processes can check whether it still exists."""

    host: str = field(default_factory=socket.gethostname)
    process: int = field(default_factory=os.getpid)
    process_started: float = field(default_factory=lambda: psutil.Process().create_time())


def _is_running(process: int, started: float | None) -> bool:
    try:
        found = psutil.Process(process)
        if found.status() == psutil.STATUS_ZOMBIE:
            return False
        # A pid may be reused later, but not with the same start time.
        return started is None or abs(found.create_time() - started) < 1.0
    except psutil.NoSuchProcess:
        return False
