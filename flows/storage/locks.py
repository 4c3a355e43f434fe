"""Locks between the processes of one machine; waiting for one does not block the event loop."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from filelock import FileLock, Timeout

_EVERY_S = 0.5


@asynccontextmanager
async def file_locked(path: Path, *, on_wait: Callable[[], None] = lambda: None) -> AsyncGenerator[None]:
    """Hold the lock of a file; `on_wait` is called once if another process holds it. The lock ends with its process."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        on_wait()
        await _acquire(lock)
    try:
        yield
    finally:
        lock.release()


async def _acquire(lock: FileLock) -> None:
    while True:
        await asyncio.sleep(_EVERY_S)
        try:
            lock.acquire()
        except Timeout:
            continue
        return
