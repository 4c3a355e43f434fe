"""Sliding windows: a limit of concurrent holders; when one ends, the next waiting one starts, in order of arrival."""

import asyncio
from types import TracebackType


class Window:
    """A semaphore; with None as its limit it lets any number in."""

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
    """The slot of a branch or item in a window; it is free while the branch waits to be tried again."""

    def __init__(self, window: Window) -> None:
        self._window = window
        self._held = False

    async def hold(self) -> None:
        """Wait for the slot, unless it is held already."""
        if not self._held:
            await self._window.acquire()
            self._held = True

    def let_go(self) -> None:
        """Free the slot, if it is held."""
        if self._held:
            self._held = False
            self._window.release()
