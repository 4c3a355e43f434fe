"""Calls of code that may crash or hang, such as parsers of untrusted files, in separate processes with limits.

Each call has a process to itself; idle processes are kept for later calls. If a process dies, only its own call fails.
"""

import atexit
import contextlib
import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from typing import Any, cast

import psutil

from flows.calling import sandboxed
from flows.calling.container import container_bytes
from flows.calling.processes import CORES
from flows.errors import CallCrashed, LimitExceeded, StepCancelled, TransientError

LOOK_S = 0.1
"""Seconds between two checks of a running call."""
WALL_FACTOR = 10
"""The limit of elapsed time, as a multiple of the CPU limit; it ends calls that only wait.
"""
_KEPT = frozenset("PATH HOME LANG TMPDIR TMP TEMP SYSTEMROOT LD_LIBRARY_PATH VIRTUAL_ENV TESSDATA_PREFIX".split())
"""Environment variables that a process inherits; none of them holds secrets."""
_GROWN_BYTES = 1_200_000_000
_OWN_BYTES, _SHARE_BYTES, _LEAST_BYTES = 500_000_000, 500_000_000, 200_000_000
"""Memory of a container: for the process itself, for each of several calls at once, and the least for a single call."""
_OUT_OF_TIME = -getattr(signal, "SIGXCPU", 1 << 16)


@dataclass(frozen=True)
class Sandbox:
    """Runs functions, named by their modules, in processes with limits of CPU time and memory for each call."""

    cpu_s: float = 60.0
    memory_bytes: int = 2_000_000_000
    processes: int = CORES
    """Calls at once, over all sandboxes of this process."""
    container_bytes: int | None = field(default_factory=container_bytes)
    """The memory of the container of this process, which all calls at once and the process itself must share."""

    @property
    def at_once(self) -> int:
        """How many calls may run at once: `processes`, or fewer in a small container."""
        if self.container_bytes is None:
            return self.processes
        return min(self.processes, max(1, (self.container_bytes - _OWN_BYTES) // _SHARE_BYTES))

    @property
    def allowed_bytes(self) -> int:
        """The memory that a call may use: `memory_bytes`, or less in a small container."""
        if self.container_bytes is None:
            return self.memory_bytes
        share = (self.container_bytes - _OWN_BYTES) // self.at_once
        return min(self.memory_bytes, max(share, _LEAST_BYTES))

    def run(self, function: Callable[..., Any], *arguments: Any, cancelled: Callable[[], bool] = lambda: False) -> Any:
        """Return the result of `function(*arguments)`; an error that it raises is raised here.

        A call whose process dies is tried once more in a new process, because an earlier call or the machine may be the
        cause.

        Raises:
            LimitExceeded: it used too much CPU time or memory.
            CallCrashed: it crashed the process.
            TransientError: the process was killed from outside twice, or the limit of elapsed time was reached.
            StepCancelled: `cancelled` became true.
        """
        (result,) = self.stream(function, *arguments, cancelled=cancelled)
        return result

    def stream(
        self, function: Callable[..., Any], *arguments: Any, cancelled: Callable[[], bool] = lambda: False
    ) -> Iterator[Any]:
        """Yield the items of the generator `function(*arguments)` as they are made; raises the same errors as `run`.

        The limits apply to each item separately.
        """
        message = (function, arguments, self.cpu_s, self.allowed_bytes)
        given = 0
        for last in (False, True):
            passed = 0
            try:
                for item in self._attempt(message, cancelled):
                    passed += 1
                    if passed > given:  # a second attempt yields the first items again
                        given = passed
                        yield item
                return
            except _Died as death:
                if last or death.code == _OUT_OF_TIME:
                    raise death.meaning(self) from None

    def _attempt(self, message: Any, cancelled: Callable[[], bool]) -> Iterator[Any]:
        with _turn(self.at_once):
            process = _take()
            try:
                yield from process.call(message, self, cancelled)
            finally:
                _give_back(process)


class _Died(Exception):
    """A process that ended before its answer; `code` is its exit code, None if it has closed its pipe."""

    def __init__(self, code: int | None) -> None:
        super().__init__(code)
        self.code = code

    def meaning(self, limits: Sandbox) -> LimitExceeded | CallCrashed | TransientError:
        """The error that the call fails with."""
        if self.code is None:
            return CallCrashed("crashed its reader, whose process closed its pipe")
        if self.code >= 0:
            return CallCrashed(f"crashed its reader, whose process ended with exit code {self.code}")
        if self.code == _OUT_OF_TIME:
            return _too_much_time(limits)
        name = signal.Signals(-self.code).name
        if name in ("SIGKILL", "SIGTERM"):
            return TransientError(f"its reader was killed ({name}); perhaps the machine ran out of memory")
        return CallCrashed(f"crashed its reader ({name})")


class _Process:
    """One process, and a thread that reads its answers."""

    def __init__(self) -> None:
        environment = {name: value for name, value in os.environ.items() if name in _KEPT or name.startswith("LC_")}
        environment |= {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "MALLOC_ARENA_MAX": "2"}
        environment["OMP_NUM_THREADS"] = environment["OPENBLAS_NUM_THREADS"] = "1"
        self._popen = subprocess.Popen(
            [sys.executable, "-P", sandboxed.__file__, str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            start_new_session=True,  # Ctrl-C is for us to handle
        )
        self._answers: queue.Queue[bytes | None] = queue.Queue(maxsize=4)
        self._killed = self._answering = False
        threading.Thread(target=self._read, name=f"braid-sandbox-{self._popen.pid}", daemon=True).start()

    def _read(self) -> None:
        assert self._popen.stdout is not None
        frame: bytes | None = b""
        while frame is not None:
            try:
                frame = sandboxed.read_frame(self._popen.stdout)
            except (OSError, ValueError):
                frame = None
            while not self._killed:
                with contextlib.suppress(queue.Full):
                    self._answers.put(frame, timeout=1)
                    break

    def call(self, message: Any, limits: Sandbox, cancelled: Callable[[], bool]) -> Iterator[Any]:
        """The items of one call; an error of the function is raised and leaves the process usable."""
        assert self._popen.stdin is not None
        self._answering = True
        try:
            sandboxed.write_frame(self._popen.stdin, message)
        except OSError:
            raise self._death() from None
        while True:
            kind, value = self._next(limits, cancelled)
            if kind == "item":
                yield value
                continue
            self._answering = False
            if value is not None:
                raise value if not isinstance(value, MemoryError) else _too_much_memory(limits)
            return

    def _next(self, limits: Sandbox, cancelled: Callable[[], bool]) -> tuple[str, Any]:
        until = time.monotonic() + WALL_FACTOR * limits.cpu_s
        while True:
            try:
                frame = self._answers.get(timeout=LOOK_S)
            except queue.Empty:
                self._look(limits, until, cancelled)
                continue
            if frame is None:
                raise self._death()
            return cast("tuple[str, Any]", pickle.loads(frame))

    def _look(self, limits: Sandbox, until: float, cancelled: Callable[[], bool]) -> None:
        if cancelled():
            raise StepCancelled("the result is no longer needed")
        if time.monotonic() > until:
            raise TransientError(
                f"took {WALL_FACTOR * limits.cpu_s:g} s of wall time, but less than {limits.cpu_s:g} s of CPU time; "
                "the machine may be too busy"
            )
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(self._popen.pid)
            if process.memory_info().rss > limits.allowed_bytes:
                raise _too_much_memory(limits)
            if sys.platform == "win32" and sum(process.cpu_times()[:2]) > limits.cpu_s:
                raise _too_much_time(limits)

    def _death(self) -> _Died:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return _Died(self._popen.wait(5))
        return _Died(None)

    @property
    def usable(self) -> bool:
        """Whether it can take another call: it is alive, and its memory has not grown too much."""
        if self._answering or self._popen.poll() is not None:
            return False
        try:
            return psutil.Process(self._popen.pid).memory_info().rss < _GROWN_BYTES
        except psutil.Error:
            return False

    def kill(self) -> None:
        self._killed = True
        self._popen.kill()
        self._popen.wait(5)
        for stream in (self._popen.stdin, self._popen.stdout):
            with contextlib.suppress(OSError):
                cast("Any", stream).close()


def _too_much_time(limits: Sandbox) -> LimitExceeded:
    return LimitExceeded(
        f"took more than {limits.cpu_s:g} s of CPU time to read; raise BRAID_PARSER_CPU_S, or split the file"
    )


def _too_much_memory(limits: Sandbox) -> LimitExceeded:
    cure = "raise BRAID_PARSER_MEMORY_MB"
    if limits.container_bytes is not None and limits.allowed_bytes < limits.memory_bytes:
        cure = f"give the container more than {limits.container_bytes // 1_000_000} MB"
    return LimitExceeded(
        f"needed more than {limits.allowed_bytes // 1_000_000} MB of memory to be read; {cure}, or split the file"
    )


def stop_sandboxes() -> None:
    """End all processes; the next call starts new ones."""
    with _lock:
        running = list(_running)
        _running.clear()
        _idle.clear()
    for process in running:
        process.kill()


_lock = threading.Lock()
_running: set[_Process] = set()
_idle: list[_Process] = []
_busy = 0
_freed = threading.Condition(_lock)


@contextlib.contextmanager
def _turn(most: int) -> Generator[None]:
    global _busy
    with _freed:
        while _busy >= most:
            _freed.wait()
        _busy += 1
    try:
        yield
    finally:
        with _freed:
            _busy -= 1
            _freed.notify()


def _take() -> _Process:
    with _lock:
        while _idle:
            process = _idle.pop()
            if process.usable:
                return process
            _running.discard(process)
            process.kill()
    atexit.unregister(stop_sandboxes)
    atexit.register(stop_sandboxes)
    process = _Process()
    with _lock:
        _running.add(process)
    return process


def _give_back(process: _Process) -> None:
    with _lock:
        if process in _running and len(_idle) < CORES and process.usable:
            _idle.append(process)
            return
        _running.discard(process)
    process.kill()
