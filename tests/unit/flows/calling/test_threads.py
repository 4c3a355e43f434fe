"""Threads of calls are used again, unless a call keeps one; no call ever waits for another."""

import asyncio
import threading

import pytest

from flows.calling import call_in_thread


async def test_a_thread_is_used_again() -> None:
    first = await call_in_thread(threading.get_ident, name="first")
    assert [await call_in_thread(threading.get_ident, name="next") for _ in range(3)] == [first] * 3


async def test_a_stuck_thread_is_not_used_again() -> None:
    free = threading.Event()
    stuck: list[int] = []

    def wait() -> None:
        stuck.append(threading.get_ident())
        free.wait()

    waiting = call_in_thread(wait, name="stuck")
    others = {await call_in_thread(threading.get_ident, name="other") for _ in range(3)}
    waiting.cancel()
    others |= {await call_in_thread(threading.get_ident, name="after its result was dropped")}
    free.set()
    assert not others & set(stuck)


async def test_calls_at_once_never_wait_for_each_other() -> None:
    barrier = threading.Barrier(100)
    await asyncio.gather(*(call_in_thread(lambda: barrier.wait(30), name=f"call {n}") for n in range(100)))


async def test_a_thread_has_the_name_of_its_call() -> None:
    assert await call_in_thread(lambda: threading.current_thread().name, name="braid-embed[3]") == "braid-embed[3]"


async def test_an_error_leaves_the_thread_usable() -> None:
    def fail() -> None:
        raise ValueError("broken")

    for _ in range(2):
        with pytest.raises(ValueError, match="broken"):
            await call_in_thread(fail, name="failing")
    assert await call_in_thread(lambda: 1, name="next") == 1
