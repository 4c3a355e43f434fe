"""An event loop whose clock is not the wall's: when nothing can run, time jumps to the next timer; nobody sleeps."""

import asyncio
import concurrent.futures
import math
import selectors
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, TypeVar

Result = TypeVar("Result")
MOST_TURNS = 1_000_000
"""Turns of the loop after which a run counts as never ending."""
PATIENCE_S = 5.0
"""Real seconds that a thread may keep a run waiting while nothing else can happen."""


class WaitsForever(Exception):
    """Nothing is ready, no timer is set and no thread is at work: whoever waits would wait for ever."""


class _Jumps(selectors.BaseSelector):
    """A selector that lets virtual time pass instead of waiting, except for work that is under way in threads."""

    def __init__(self) -> None:
        self._real = selectors.DefaultSelector()
        self.now = 0.0
        self.turns = 0
        self.most_turns = MOST_TURNS
        self.threads = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.turns += 1
        if self.turns > self.most_turns:
            raise WaitsForever(f"the run did not end within {self.most_turns:,} turns of the event loop")
        if timeout is not None and timeout <= 0 and not self.threads and self.turns % 64:
            return []  # something is ready; what comes in from outside can wait a few turns
        events = self._real.select(0)
        if events or (timeout is not None and timeout <= 0):
            return events
        if self.threads:
            events = self._real.select(PATIENCE_S)
            if events:
                return events
        if timeout is None:
            raise WaitsForever(f"at {self.now:g} s everything waits for something that nothing will bring about")
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
    """An event loop in virtual time, which starts at 0; what runs in its executor takes no virtual time."""

    def __init__(self, *, most_turns: int = MOST_TURNS) -> None:
        self._jumps = _Jumps()
        self._jumps.most_turns = most_turns
        super().__init__(self._jumps)

    def time(self) -> float:
        return self._jumps.now

    def allow_more_turns(self) -> None:
        """Let a loop that had no turns left run its tasks to their end."""
        self._jumps.turns = 0

    def run_in_executor(  # type: ignore[override]
        self, executor: concurrent.futures.Executor | None, func: Callable[..., Any], *args: Any
    ) -> "asyncio.Future[Any]":
        future = super().run_in_executor(executor, func, *args)
        self._jumps.threads += 1
        future.add_done_callback(self._thread_ended)
        return future

    def _thread_ended(self, _: "asyncio.Future[Any]") -> None:
        self._jumps.threads -= 1


def run_virtually(work: Coroutine[Any, Any, Result], *, most_turns: int = MOST_TURNS) -> Result:
    """Run a coroutine to its end on a new loop in virtual time; sleeping costs nothing.

    Sockets and subprocesses do not fit into virtual time: time may jump while an answer is on its way.

    Raises:
        WaitsForever: it would never end.
    """
    loop = VirtualLoop(most_turns=most_turns)
    try:
        return loop.run_until_complete(work)
    finally:
        end_tasks(loop)
        loop.close()


def end_tasks(loop: asyncio.AbstractEventLoop, *, most_rounds: int = 50) -> None:
    """Cancel what is left on a loop that has stopped, so that nothing is destroyed while it is pending."""
    for _ in range(most_rounds):
        left = asyncio.all_tasks(loop)
        if not left:
            return
        for task in left:
            task.cancel()
        loop.run_until_complete(_some_turns())
        for task in left:
            if task.done() and not task.cancelled():
                task.exception()


async def _some_turns() -> None:
    for _ in range(10):
        await asyncio.sleep(0)
