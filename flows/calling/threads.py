"""Where handlers that are not coroutines run: in a thread that no other call has meanwhile.

asyncio's default executor has few threads, and a call that was given up keeps its thread: a handful of blocked calls
would stop every run in the process. Here a call takes a thread that has nothing to do, or else a new one, so calls
cannot be starved, and how many there are is what the plan's windows allow. The threads are daemons, which do not delay
the end of the process; one that has had nothing to do for a while ends. A new thread costs some 50 µs, and up to 5 ms
where others are computing, since whoever starts one waits until it runs; a thread that is there costs neither.
"""

import asyncio
import contextvars
import os
import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any, TypeAlias

from flows.calling.raised import as_exception

Work: TypeAlias = Callable[[], None]
IDLE_S = 10.0
_idle: "list[SimpleQueue[Work]]" = []
"""The inboxes of threads that have nothing to do, the one that worked last at the end. No lock: each step is atomic."""


def call_in_thread(function: Callable[[], Any], *, name: str) -> "asyncio.Future[Any]":
    """Call `function` in a daemon thread, with this task's context variables; its result comes as a future.

    Cancelling the future does not stop the thread; its late result is dropped.
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

    def work(inbox: "SimpleQueue[Work]") -> None:
        threading.current_thread().name = name
        result, error = None, None
        try:
            result = variables.run(function)
        except BaseException as raised:
            error = as_exception(raised)
        _idle.append(inbox)  # before the result is known: the next call then finds this thread
        try:
            loop.call_soon_threadsafe(settle, result, error)
        except RuntimeError:
            # The loop is closed: the run is over and nobody wants the result.
            return

    _give_to_a_thread(work, name)
    return future


def _give_to_a_thread(work: "Callable[[SimpleQueue[Work]], None]", name: str) -> None:
    try:
        inbox = _idle.pop()
    except IndexError:
        inbox = SimpleQueue[Work]()
        threading.Thread(target=_serve, args=(inbox,), name=name, daemon=True).start()
    inbox.put(lambda: work(inbox))


def _serve(inbox: "SimpleQueue[Work]") -> None:
    """Do what comes in, until nothing has come for a while."""
    while True:
        try:
            work = inbox.get(timeout=IDLE_S)
        except Empty:
            try:
                _idle.remove(inbox)
            except ValueError:
                continue  # somebody has just taken this thread
            return
        work()
        del work  # with all that it holds


os.register_at_fork(after_in_child=_idle.clear)  # threads stay behind in the parent
