"""Sliding windows: at most so many at once; when one ends, the next waiting one starts, in order of arrival."""

import asyncio
from types import TracebackType


class Window:
    """A limit on how many hold it at once; None means any number."""

    def __init__(self, limit: int | None) -> None:
        self.limit = limit
        self._semaphore = asyncio.Semaphore(limit) if limit is not None else None

    async def acquire(self) -> None:
        if self._semaphore is not None:
            await self._semaphore.acquire()

    def release(self) -> None:
        if self._semaphore is not None:
            self._semaphore.release()

    async def __aenter__(self) -> None:
        await self.acquire()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


class Slot:
    """A branch's place in a window; given up while the branch waits to retry, and taken again before it goes on."""

    def __init__(self, window: Window) -> None:
        self._window = window
        self._held = False

    async def hold(self) -> None:
        """Wait for the place, unless it is held already."""
        if not self._held:
            await self._window.acquire()
            self._held = True

    def let_go(self) -> None:
        """Give the place up, if it is held."""
        if self._held:
            self._held = False
            self._window.release()
