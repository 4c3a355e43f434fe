"""An event loop in virtual time: when nothing can run, time jumps to the next timer, so there is no sleeping."""

import asyncio
import concurrent.futures
import math
import selectors
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, TypeVar

Result = TypeVar("Result")
MAX_TURNS = 1_000_000
"""After this many turns of the loop, a run counts as endless."""
_MAX_ROUNDS = 50
"""How many times the remaining tasks of a loop are cancelled."""
THREAD_PATIENCE_S = 5.0
"""How many real seconds the loop waits for a thread while nothing else can happen."""


class EndlessWait(Exception):
    """The loop would wait forever: no task is ready, no timer is set and no thread is running."""


class _VirtualTimeSelector(selectors.BaseSelector):
    """A selector that advances virtual time instead of waiting; it waits only for work in threads."""

    def __init__(self) -> None:
        self._real = selectors.DefaultSelector()
        self.now = 0.0
        self.turns = 0
        self.max_turns = MAX_TURNS
        self.threads = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.turns += 1
        if self.turns > self.max_turns:
            raise EndlessWait(f"the run did not end within {self.max_turns:,} turns of the event loop")
        if timeout is not None and timeout <= 0 and not self.threads and self.turns % 64:
            return []  # a task is ready; events from outside can wait a few turns
        events = self._real.select(0)
        if events or (timeout is not None and timeout <= 0):
            return events
        if self.threads:
            events = self._real.select(THREAD_PATIENCE_S)
            if events:
                return events
        if timeout is None:
            raise EndlessWait(f"at {self.now:g} s every task waits for an event that can never happen")
        self.now = max(math.nextafter(self.now, math.inf), self.now + timeout)
        return []

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._real.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._real.unregister(fileobj)

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._real.modify(fileobj, events, data)

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._real.get_map()

    def close(self) -> None:
        self._real.close()


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop in virtual time, which starts at 0; calls in its executor take no virtual time."""

    def __init__(self, *, max_turns: int = MAX_TURNS) -> None:
        self._virtual_time = _VirtualTimeSelector()
        self._virtual_time.max_turns = max_turns
        super().__init__(self._virtual_time)

    def time(self) -> float:
        return self._virtual_time.now

    def allow_more_turns(self) -> None:
        """Reset the count of turns, so that a loop that reached the limit can end its tasks."""
        self._virtual_time.turns = 0

    def run_in_executor(  # type: ignore[override]
        self, executor: concurrent.futures.Executor | None, func: Callable[..., Any], *args: Any
    ) -> "asyncio.Future[Any]":
        future = super().run_in_executor(executor, func, *args)
        self._virtual_time.threads += 1
        future.add_done_callback(self._thread_ended)
        return future

    def _thread_ended(self, _: "asyncio.Future[Any]") -> None:
        self._virtual_time.threads -= 1


def run_virtually(work: Coroutine[Any, Any, Result]) -> Result:
    """Run a coroutine to its end on a new loop in virtual time; sleeping costs nothing.

    Do not use sockets or subprocesses in it: time may jump while an answer is on its way.

    Raises:
        EndlessWait: the coroutine would never end.
    """
    loop = VirtualLoop()
    try:
        return loop.run_until_complete(work)
    finally:
        end_tasks(loop)
        loop.close()


def end_tasks(loop: asyncio.AbstractEventLoop) -> None:
    """Cancel the tasks that are left on a stopped loop, so that no pending task is destroyed."""
    for _ in range(_MAX_ROUNDS):
        left = asyncio.all_tasks(loop)
        if not left:
            return
        for task in left:
            task.cancel()
        loop.run_until_complete(_yield_to_tasks())
        for task in left:
            if task.done() and not task.cancelled():
                task.exception()


async def _yield_to_tasks() -> None:
    for _ in range(10):
        await asyncio.sleep(0)
