"""Run a coroutine to its end from synchronous code, even if an event loop is already running."""

import asyncio
import contextvars
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

Result = TypeVar("Result")


def run_to_end(work: Coroutine[Any, Any, Result]) -> Result:
    """The result of `work`, run on a new event loop.

    In a notebook, or wherever a loop is already running, the new loop runs in a thread of its own. The running loop is
    blocked meanwhile, as by any synchronous call. Ctrl-C cancels `work` in both cases.
    """
    return _ThreadedRun(work).run() if loop_is_running() else asyncio.run(work)


def loop_is_running() -> bool:
    """Whether an event loop is running in this thread."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


class _ThreadedRun:
    """A coroutine on an event loop in a thread of its own."""

    def __init__(self, work: Coroutine[Any, Any, Any]) -> None:
        self._work = work
        self._ended: Future[Any] = Future()
        self._begun = threading.Event()
        self._task: asyncio.Task[Any] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def run(self) -> Any:
        in_context = contextvars.copy_context().run
        thread = threading.Thread(target=in_context, args=(self._run_thread,), name="braid-run", daemon=True)
        thread.start()
        try:
            return self._ended.result()
        except BaseException:
            self._begun.wait()
            if self._loop is not None and self._task is not None and not self._ended.done():
                self._loop.call_soon_threadsafe(self._task.cancel)
            raise
        finally:
            thread.join()

    def _run_thread(self) -> None:
        try:
            self._ended.set_result(asyncio.run(self._run_work()))
        except BaseException as error:
            self._ended.set_exception(error)
        finally:
            self._begun.set()

    async def _run_work(self) -> Any:
        self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
        self._begun.set()
        return await self._work
