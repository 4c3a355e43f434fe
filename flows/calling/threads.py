"""Where handlers that are not coroutines run: in threads that serve one call after another.

asyncio's default executor has few threads, and an abandoned call keeps its thread: a few blocked calls would stop every
run in the process. Here a call takes an idle thread or starts a new one, so no call waits for another. The plan's
concurrency limits bound the number of threads. Threads are daemons, so they do not delay the end of the process.
Starting a thread blocks the event loop for about 0.4 ms; therefore idle threads are reused.
"""

import asyncio
import contextvars
import os
import threading
from collections import deque
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any, TypeAlias

from flows.calling.raised import as_exception

IDLE_S = 10.0
"""How long a thread waits for its next call."""
MOST_IDLE = 64
"""The most idle threads that are kept; a thread beyond that ends after its call."""
_Call: TypeAlias = Callable[[], Callable[[], None]]
"""Does the work, and returns how its result is delivered."""


def call_in_thread(function: Callable[[], Any], *, name: str) -> "asyncio.Future[Any]":
    """Call `function` in a daemon thread, with this task's context variables; its result comes as a future.

    The thread is called `name` during the call. Cancelling the future does not stop the thread; its late result is
    dropped.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Any] = loop.create_future()
    variables = contextvars.copy_context()

    def settle(result: Any, error: BaseException | None) -> None:
        if future.done():
            return
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)

    def work() -> Callable[[], None]:
        result, error = None, None
        try:
            result = variables.run(function)
        except BaseException as raised:
            error = as_exception(raised)
        return lambda: _deliver(loop, lambda: settle(result, error))

    _take_thread().calls.put((name, work))
    return future


def _deliver(loop: asyncio.AbstractEventLoop, settle: Callable[[], None]) -> None:
    try:
        loop.call_soon_threadsafe(settle)
    except RuntimeError:
        # The loop is closed: the run is over and nobody wants the result.
        return


class _Thread:
    """One thread with the call that it is to do next."""

    def __init__(self) -> None:
        self.calls: SimpleQueue[tuple[str, _Call]] = SimpleQueue()
        threading.Thread(target=self._serve, name="braid-idle", daemon=True).start()

    def _serve(self) -> None:
        goes_on = True
        while goes_on:
            try:
                name, call = self.calls.get(timeout=IDLE_S)
            except Empty:
                if _withdraw(self):
                    return
                continue  # a new call has just taken this thread
            threading.current_thread().name = name
            deliver = call()
            threading.current_thread().name = "braid-idle"
            # Become idle before delivering the result, because the code that awaits it may make the next call.
            goes_on = _give_back(self)
            deliver()
            del call, deliver  # an idle thread must not hold the values of its last call


_lock = threading.Lock()
_idle: deque[_Thread] = deque()


def _take_thread() -> _Thread:
    with _lock:
        if _idle:
            return _idle.pop()
    return _Thread()


def _give_back(thread: _Thread) -> bool:
    """Make a thread idle; return False if there are enough idle threads."""
    with _lock:
        if len(_idle) >= MOST_IDLE:
            return False
        _idle.append(thread)
        return True


def _withdraw(thread: _Thread) -> bool:
    """Remove a thread from the idle ones; return False if a call has already taken it."""
    with _lock:
        if thread not in _idle:
            return False
        _idle.remove(thread)
        return True


def _forget_threads() -> None:
    """Forget the parent's threads in a forked process, which does not have them."""
    global _lock
    _lock = threading.Lock()
    _idle.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_threads)
