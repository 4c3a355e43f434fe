"""Calls in worker processes: each can be killed at any moment, together with everything that it started.

A worker serves one call at a time over its own pipe, so killing one does not affect the others. Idle workers are kept
for later calls. A guardian process kills the workers if this process is killed.
"""

import asyncio
import atexit
import contextlib
import multiprocessing
import os
import pickle
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import weakref
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import Any, cast

from flows.author import OTHER_TRACEBACK
from flows.calling import guardian
from flows.calling.main_module import MAIN, MainModule, main_left_out, main_module
from flows.calling.parcels import pack, unpack
from flows.calling.raised import as_exception
from flows.calling.threads import call_in_thread
from flows.calling.times import PROCESS, CallTimes
from flows.errors import FatalError, TransientError, message_of
from flows.limits import Window

# Spawned, not forked: a fork of a process with threads and locks may hang.
_spawn = multiprocessing.get_context("spawn")
CORES = multiprocessing.cpu_count()
MOST_WORKERS = max(8, 2 * CORES)
"""The most calls at the same time per event loop, regardless of the plan."""


async def call_in_process(function: Callable[..., Any], *arguments: Any, waits: CallTimes | None = None) -> Any:
    """Call `function`, which the worker imports by its name, in a worker process.

    When the caller is cancelled, by a timeout or otherwise, the worker and everything that it started are killed. In
    `waits`, the time until a worker begins the call is counted as waiting for a process.

    Raises:
        TransientError: the worker was killed from outside, as when the machine runs out of memory.
        FatalError: the worker died by itself, or the arguments or the result cannot be pickled.
    """
    begun = _begin_to_wait(waits)
    async with _window():
        worker = _take_worker()
        future = call_in_thread(
            lambda: _exchange(worker, function, arguments, begun), name=f"braid-worker-{worker.number}"
        )
        try:
            error, result, trace = await future
        except BaseException:
            # In a thread, because searching all processes takes a while and the caller should not wait for it.
            call_in_thread(worker.kill, name=f"braid-kill-{worker.number}")
            raise
    _return_worker(worker)
    if error is not None:
        if trace is not None:
            vars(error)[OTHER_TRACEBACK] = trace
        raise error
    return result


def _exchange(
    worker: "_Worker", function: Callable[..., Any], arguments: tuple[Any, ...], begun: Callable[[], None]
) -> tuple[BaseException | None, Any, Any]:
    """Send a call, and return its error, result and traceback; runs in a thread, because large values take a while."""
    with tempfile.TemporaryDirectory(dir=folder_of_calls(), ignore_cleanup_errors=True) as folder:
        try:
            message = pack((function, arguments, folder), folder)
        except Exception as problem:
            refused = FatalError(f"the inputs of a call with `isolation: process` must be picklable: {problem}")
            refused.__cause__ = problem
            return refused, None, None
        answer = worker.call(message, begun)
        try:
            return unpack(answer)
        except Exception as problem:
            refused = FatalError(f"the result of the call cannot be unpickled: {problem}")
            refused.__cause__ = problem
            return refused, None, None


def _begin_to_wait(waits: CallTimes | None) -> Callable[[], None]:
    """Count time as waiting for a process until the returned function is called (from any thread)."""
    if waits is None:
        return lambda: None
    loop = asyncio.get_running_loop()
    waits.wait_for(PROCESS)

    def work() -> None:
        if waits.waits_for == PROCESS:  # the call may have been stopped meanwhile
            waits.work()

    return lambda: loop.call_soon_threadsafe(work) and None


def folder_of_calls() -> str:
    """A folder for the files of calls that run; it goes when this process ends, also if it is killed."""
    return _Guardian.folder_of_calls()


def stop_processes() -> None:
    """End the worker processes, if there are any; the next call starts new ones."""
    with _lock:
        workers = list(_workers)
        _idle.clear()
    for worker in workers:
        worker.kill()
    _Guardian.stop()


class _Worker:
    """One process and the pipe to it."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.mark = f"{os.getpid()}.{id(self):x}.{number}"
        self._lock = threading.Lock()
        self._killed = False
        self._process: SpawnProcess | None = None
        self._connection: Connection[bytes, bytes] | None = None

    def call(self, message: bytes, begun: Callable[[], None]) -> bytes:
        """Send a call and wait for its answer; blocks. Calls `begun` when the worker begins the call."""
        for first in (True, False):
            connection = self._open_connection(anew=not first)
            try:
                connection.send_bytes(message)
                connection.recv_bytes()  # the worker reports that it begins the call
                begun()
                break
            except (OSError, EOFError) as error:
                # The worker died while it was idle, so the call may begin once more, in another worker.
                if not first:
                    raise self._death_error() from error
        try:
            return connection.recv_bytes()
        except (OSError, EOFError) as error:
            raise self._death_error() from error

    def _open_connection(self, *, anew: bool = False) -> "Connection[bytes, bytes]":
        with self._lock:
            if self._killed:
                raise TransientError("the worker process was stopped")
            if self._connection is None or anew:
                ours, theirs = _spawn.Pipe()
                process = _spawn.Process(
                    target=_serve_calls, args=(theirs, self.mark, main_module()), name=f"braid-worker-{self.number}"
                )
                with main_left_out():
                    process.start()
                theirs.close()
                _Guardian.tell("+", cast(int, process.pid), self.mark)
                self._process, self._connection = process, ours
            return self._connection

    def _death_error(self) -> TransientError | FatalError:
        """The error for the end of a worker process: transient if it was killed, fatal if it died by itself."""
        assert self._process is not None
        until = time.monotonic() + 5
        # Another thread that starts a process may collect the exit code first; then this thread sees it a little later.
        while (code := self._process.exitcode) is None and time.monotonic() < until:
            self._process.join(0.05)
            time.sleep(0.001)
        if code is None:
            return FatalError("the worker process closed its pipe; the handler must leave file descriptors alone")
        if code >= 0:
            return FatalError(f"the worker process ended with exit code {code}; a handler must return, not exit")
        name = signal.Signals(-code).name
        if -code in (signal.SIGKILL, signal.SIGTERM):
            return TransientError(f"the worker process was killed ({name}); perhaps the machine ran out of memory")
        return FatalError(f"the worker process crashed ({name}), in the handler or in a library that it calls")

    def alive(self) -> bool:
        return self._process is None or self._process.is_alive()

    def kill(self) -> None:
        """Kill the process and everything that it started; it cannot start again."""
        with self._lock:
            with _lock:
                _workers.discard(self)
            if self._process is not None and not self._killed:
                guardian.kill_tree(cast(int, self._process.pid), self.mark)
                self._process.join(5)
                _Guardian.tell("-", cast(int, self._process.pid), self.mark)
            self._killed = True


class _Guardian:
    """The process that kills our workers and removes the files of their calls if this process does not do so itself."""

    process: "subprocess.Popen[bytes] | None" = None
    folder: str | None = None
    lock = threading.Lock()

    @classmethod
    def folder_of_calls(cls) -> str:
        with cls.lock:
            return cls._folder_of_calls()

    @classmethod
    def _folder_of_calls(cls) -> str:
        if cls.folder is None or not os.path.isdir(cls.folder):  # a cleaner of temporary folders may remove it
            cls.folder = tempfile.mkdtemp(prefix="braid-calls-")
            atexit.register(shutil.rmtree, cls.folder, ignore_errors=True)
        return cls.folder

    @classmethod
    def tell(cls, sign: str, pid: int, mark: str) -> None:
        if os.name != "posix":
            return
        with cls.lock:
            if cls.process is None or cls.process.poll() is not None:
                command = [sys.executable, "-P", guardian.__file__, str(os.getpid()), cls._folder_of_calls()]
                # A session of its own, so that signals to our process group do not end the guardian.
                cls.process = subprocess.Popen(
                    command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    start_new_session=True,
                )
            assert cls.process.stdin is not None
            with contextlib.suppress(OSError):
                cls.process.stdin.write(f"{sign} {pid} {mark}\n".encode())
                cls.process.stdin.flush()

    @classmethod
    def stop(cls) -> None:
        with cls.lock:
            if cls.process is not None and cls.process.stdin is not None:
                with contextlib.suppress(OSError):
                    cls.process.stdin.write(guardian.END + b"\n")
                    cls.process.stdin.close()
                cls.process.wait(10)
            cls.process = None


_lock = threading.Lock()
_workers: set[_Worker] = set()
_idle: list[_Worker] = []
_numbers = iter(range(1, 1 << 62))
_windows: "weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Window]" = weakref.WeakKeyDictionary()


def _window() -> Window:
    return _windows.setdefault(asyncio.get_running_loop(), Window(MOST_WORKERS))


def _take_worker() -> _Worker:
    with _lock:
        while _idle:
            worker = _idle.pop()
            if worker.alive():
                return worker
            _workers.discard(worker)
        if not _workers:
            atexit.unregister(stop_processes)
            atexit.register(stop_processes)
        worker = _Worker(next(_numbers))
        _workers.add(worker)
        return worker


def _return_worker(worker: _Worker) -> None:
    with _lock:
        if len(_idle) < CORES and worker in _workers:
            _idle.append(worker)
            return
    call_in_thread(worker.kill, name=f"braid-kill-{worker.number}")


def _serve_calls(connection: "Connection[bytes, bytes]", mark: str, main: MainModule) -> None:
    """In the worker: answer one call after another until the pipe is closed."""
    if hasattr(os, "setsid"):
        os.setsid()
    os.environ[guardian.MARK] = mark
    while True:
        try:
            message = connection.recv_bytes()
        except (EOFError, OSError):
            return
        connection.send_bytes(b"begins")
        connection.send_bytes(_answer_call(message, main))


def _answer_call(message: bytes, main: MainModule) -> bytes:
    folder: str | None = None

    def work() -> Any:
        nonlocal folder
        if MAIN in message:
            main.bring_here()
        function, arguments, folder = unpack(message)
        return function(*arguments)

    try:
        error, result = outcome_of(work)
        return pack((error, result, vars(error).get(OTHER_TRACEBACK) if error is not None else None), folder)
    except Exception as problem:
        return pack((FatalError(f"the result of the call cannot be pickled: {problem}"), None, None), None)


def outcome_of(function: Callable[[], Any]) -> tuple[BaseException | None, Any]:
    """A function's return value, or its error in a form that can be pickled."""
    try:
        return None, function()
    except BaseException as raised:
        error = as_exception(raised)
        try:
            pickle.loads(pickle.dumps(error))  # some errors can be pickled but not unpickled
        except Exception:
            error = RuntimeError(f"{type(error).__name__}: {message_of(error)}")
        # The traceback is for the log; as a note it would become part of the error's message.
        vars(error)[OTHER_TRACEBACK] = traceback.format_exc()
        return error, None
