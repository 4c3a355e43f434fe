"""Runs calls in bounded pools: searches never wait for answers of language models, and every queue has a limit."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, ParamSpec, TypeVar

from deployments.service.metrics import Metrics
from deployments.service.problems import Busy, TooSlow

P = ParamSpec("P")
Result = TypeVar("Result")
_WAITING_PER_THREAD = 32


class CallPool:
    """Threads for calls of one kind. A call that times out keeps its thread until it ends; its result is dropped."""

    def __init__(self, name: str, threads: int, *, timeout_s: float, metrics: Metrics) -> None:
        self.name, self._timeout_s, self._metrics = name, timeout_s, metrics
        self._most = threads * (1 + _WAITING_PER_THREAD)
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix=f"braid-{name}")
        self._here = 0

    async def run(self, function: Callable[P, Result], *args: P.args, **kwargs: P.kwargs) -> Result:
        """The result of the function, called in a thread.

        Raises:
            Busy: too many calls are waiting.
            TooSlow: waiting and running took too long.
        """
        if self._here >= self._most:
            self._metrics.refused(self.name)
            raise Busy(f"{self._here} calls are waiting already", retry_after_s=2.0)
        self._count(+1)
        # The thread of a timed-out call still runs, and the call counts until the thread ends.
        future = self._executor.submit(function, *args, **kwargs)
        loop = asyncio.get_running_loop()
        future.add_done_callback(lambda _: _quietly(loop, self._count, -1))
        try:
            return await asyncio.wait_for(asyncio.wrap_future(future), self._timeout_s)
        except TimeoutError:
            raise TooSlow(f"no answer within {self._timeout_s:g} s") from None

    def close(self) -> None:
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _count(self, change: int) -> None:
        self._here += change
        self._metrics.here(self.name, self._here)


def _quietly(loop: asyncio.AbstractEventLoop, function: Callable[..., Any], *args: Any) -> None:
    with suppress(RuntimeError):  # the loop is closed: the server stops
        loop.call_soon_threadsafe(function, *args)
