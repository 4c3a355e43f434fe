"""Threads of calls: one that has nothing to do takes the next call, and one that is blocked keeps nobody waiting."""

import asyncio
import subprocess
import sys
import threading

import flows.calling.threads
from flows.calling import call_in_thread
from tests.support.paths import ROOT


def ident() -> int:
    return threading.get_ident()


def test_calls_that_follow_each_other_share_a_thread() -> None:
    async def calls() -> set[int]:
        return {await call_in_thread(ident, name=f"call-{number}") for number in range(20)}

    assert len(asyncio.run(calls())) == 1


def test_calls_at_once_have_threads_of_their_own_however_many_are_blocked() -> None:
    released = threading.Event()

    def blocked() -> str:
        released.wait(30)
        return threading.current_thread().name

    async def calls() -> list[str]:
        blocking = [call_in_thread(blocked, name=f"call-{number}") for number in range(40)]
        assert await asyncio.wait_for(call_in_thread(lambda: "not blocked", name="call"), 20) == "not blocked"
        released.set()
        return await asyncio.gather(*blocking)

    assert asyncio.run(calls()) == [f"call-{number}" for number in range(40)]


def test_a_thread_ends_when_nothing_has_come_for_a_while() -> None:
    async def one() -> threading.Thread:
        return await call_in_thread(threading.current_thread, name="call")

    before = flows.calling.threads.IDLE_S
    flows.calling.threads.IDLE_S = 0.01
    try:
        thread = asyncio.run(one())
        thread.join(before + 20)
    finally:
        flows.calling.threads.IDLE_S = before
    assert not thread.is_alive()
    assert asyncio.run(one()) is not thread


def test_a_forked_process_has_threads_of_its_own() -> None:
    script = """
import asyncio, os
from flows.calling import call_in_thread
from tests.support.paths import ROOT
async def one():
    return await asyncio.wait_for(call_in_thread(os.getpid, name="call"), 20)
asyncio.run(one())
child = os.fork()
ours = asyncio.run(one()) == os.getpid()
if not child:
    os._exit(0 if ours else 1)
assert ours and os.waitpid(child, 0)[1] == 0
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", script], check=True, cwd=ROOT, timeout=60)
