"""Where handlers that are not coroutines run: in a thread of their own.

asyncio's default executor has few threads, and a call that was given up keeps its thread: a handful of blocked calls
would stop every run in the process. A daemon thread a call costs some 50 µs, cannot be starved, does not delay the
end of the process, and how many there are is what the plan's windows allow.
"""

import asyncio
import contextvars
import threading
from collections.abc import Callable
from typing import Any

from flows.calling.raised import as_exception


def call_in_thread(function: Callable[[], Any], *, name: str) -> "asyncio.Future[Any]":
    """Start `function` in a new daemon thread, with this task's context variables; its result comes as a future.

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

    def work() -> None:
        result, error = None, None
        try:
            result = variables.run(function)
        except BaseException as raised:
            error = as_exception(raised)
        try:
            loop.call_soon_threadsafe(settle, result, error)
        except RuntimeError:
            # The loop is closed: the run is over and nobody wants the result.
            return

    threading.Thread(target=work, name=name, daemon=True).start()
    return future
