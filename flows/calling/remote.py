"""A call on a cluster: the handler's name and inputs go to another process, and a report comes back.

Services are sent as factories; each process creates each set of services once.
"""

import asyncio
import io
import pickle
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, cast

from flows.author import Call, ItemFailure
from flows.calling.processes import outcome_of
from flows.errors import FatalError, StepCancelled
from flows.state import Services

GRACE_S = 0.1
"""Seconds that a call may take to stop before it counts as abandoned."""


@dataclass(frozen=True)
class RemoteReport:
    """The report of a call on a cluster: its error or result, and its costs, progress and logs, however it ended."""

    error: BaseException | None
    result: Any
    costs: dict[str, float]
    failures: list[ItemFailure]
    worked_s: float | None = None
    """The seconds that it took there; None if it did not begin."""


class RemoteCall(Protocol):
    """One call that a cluster has taken."""

    @property
    def answer(self) -> "asyncio.Future[bytes]":
        """The packed report; a `TransientError` if the process that ran it, or the cluster, is gone."""
        ...

    async def stop(self) -> bool:
        """Ask the call to stop; return whether it stopped or never began."""
        ...


class ClusterEngine(Protocol):
    """The protocol of a cluster."""

    def submit(self, message: bytes, *, id: str, name: str) -> RemoteCall: ...

    async def close(self) -> None: ...


def pack(function: Callable[..., Any], arguments: tuple[Any, ...], call: Call) -> bytes:
    """The call `function(*arguments, call)`, to be sent.

    Raises:
        FatalError: the arguments cannot be pickled.
    """
    file = io.BytesIO()
    try:
        _Pickler(file).dump((function, arguments, call))
    except Exception as error:
        raise FatalError(f"the inputs of a call on a cluster must be picklable: {error}") from error
    return file.getvalue()


def report_of(answer: bytes) -> RemoteReport:
    """The report of a call, from its answer.

    Raises:
        FatalError: it cannot be unpickled here.
    """
    try:
        return cast("RemoteReport", pickle.loads(answer))
    except Exception as problem:
        raise FatalError(f"the result of the call cannot be unpickled: {problem}") from problem


class _Pickler(pickle.Pickler):
    def persistent_id(self, obj: Any) -> bytes | None:
        return pickle.dumps(obj) if isinstance(obj, Services) else None


class _Unpickler(pickle.Unpickler):
    def persistent_load(self, pid: bytes) -> Services:
        with _lock:
            if pid not in _services:
                _services[pid] = pickle.loads(pid)
            return _services[pid]


# The call as it is made in the cluster's process.

_lock = threading.RLock()
_services: dict[bytes, Services] = {}
_running: dict[str, tuple[Call, threading.Event]] = {}
_stopped: deque[str] = deque(maxlen=10_000)


def serve(message: bytes, id: str) -> bytes:
    """In a process of the cluster: make a call, and pack its report."""
    ended = threading.Event()
    try:
        function, arguments, call = _Unpickler(io.BytesIO(message)).load()
    except Exception as problem:
        error = FatalError(f"the call cannot begin on the cluster: {problem}; it needs the same code as this process")
        return pickle.dumps(RemoteReport(error, None, {}, []))
    with _lock:
        refused = id in _stopped
        _running[id] = call, ended
    began = time.monotonic()
    try:
        error, result = (
            (StepCancelled("stopped before it began"), None)
            if refused
            else outcome_of(lambda: function(*arguments, call))
        )
        try:
            return pickle.dumps(RemoteReport(error, result, call.costs, call.failures, time.monotonic() - began))
        except Exception as problem:
            left = FatalError(f"the result of the call cannot be pickled: {problem}")
            return pickle.dumps(RemoteReport(left, None, call.costs, call.failures))
    finally:
        with _lock:
            del _running[id]
        ended.set()


async def stop_here(id: str) -> bool:
    """In a process of the cluster: ask a call to stop; return whether it does not run here (any more)."""
    with _lock:
        _stopped.append(id)
        call, ended = _running.get(id, (None, None))
    if call is None or ended is None:
        return True
    call.cancel()
    for _ in range(10):
        if ended.is_set():
            return True
        await asyncio.sleep(GRACE_S / 10)
    return ended.is_set()
