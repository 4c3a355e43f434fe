"""One run as the store has it."""

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import psutil

HEARTBEAT_S = 10.0
"""Seconds between two signs of life of a run."""
SILENT_S = 90.0
"""A run on another machine that gave no sign of life for this long is taken for dead."""


@dataclass(frozen=True)
class RunRecord:
    """A run; `status` is `running` until it has ended."""

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
    lineage: str = ""
    """The first of the runs that go on from each other."""
    resumed_from: str | None = None
    flow_run_id: str | None = None
    """Prefect's id of the flow run, if it is one."""
    source: str | None = None
    """Where the pipeline was read from."""
    definition: str | None = None
    """The pipeline as native YAML."""
    host: str | None = None
    process: int | None = None
    process_started: float | None = None
    heartbeat: float | None = None

    @property
    def lasted(self) -> float:
        """Seconds from its beginning to its end; of one that was killed, or goes on, to its last sign of life."""
        if self.seconds is not None:
            return self.seconds
        return max(0.0, (self.heartbeat or self.started) - self.started)

    def is_alive(self, now: float) -> bool:
        """Whether the process that runs it is still there, as far as can be told from here."""
        return self.status == "running" and not self.has_lost_its_process(now)

    def has_lost_its_process(self, now: float) -> bool:
        """Whether the process that ran it is gone, as far as can be told from here; it may have ended well before."""
        if self.host == socket.gethostname() and self.process is not None:
            return not _is_running(self.process, self.process_started)
        return self.heartbeat is None or now - self.heartbeat >= SILENT_S


@dataclass(frozen=True)
class RunningBranch:
    """A step that has begun and not ended."""

    path: str
    step_id: str
    started: float
    done: int | None = None
    """Items done of `total`, as far as its handler said."""
    total: int | None = None
    heard: float | None = None
    """When it last said so."""
    stuck: bool = False
    """Silent for longer than expected."""


@dataclass(frozen=True)
class Process:
    """The process that we are, so that others can tell whether it is still there."""

    host: str = field(default_factory=socket.gethostname)
    process: int = field(default_factory=os.getpid)
    process_started: float = field(default_factory=lambda: psutil.Process().create_time())


def _is_running(process: int, started: float | None) -> bool:
    try:
        found = psutil.Process(process)
        if found.status() == psutil.STATUS_ZOMBIE:
            return False
        # Numbers of processes are used again; the time at which they started is not.
        return started is None or abs(found.create_time() - started) < 1.0
    except psutil.NoSuchProcess:
        return False
