"""Threads share malloc arenas, unless the environment has its own setting."""

import os
import subprocess
import sys

import pytest

from deployments.runs.memory import share_arenas

ALLOCATE = """
import ctypes, threading
from deployments.runs.memory import share_arenas
done = share_arenas()
libc, all_there = ctypes.CDLL(None), threading.Barrier(6)
def work():
    all_there.wait()
    for _ in range(100):
        libc.malloc(1000)
    all_there.wait()
threads = [threading.Thread(target=work) for _ in range(6)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
libc.malloc_stats()
print(done)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="malloc_stats is glibc's")
@pytest.mark.parametrize(("arenas", "done"), [("", "True"), ("5", "False")])
@pytest.mark.slow
def test_threads_share_two_arenas_unless_told_otherwise(arenas: str, done: str) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "MALLOC_ARENA_MAX"}
    if arenas:
        environment["MALLOC_ARENA_MAX"] = arenas
    ended = subprocess.run(
        [sys.executable, "-c", ALLOCATE], env=environment, capture_output=True, text=True, check=True
    )
    assert ended.stdout.strip() == done
    assert ended.stderr.count("Arena ") <= (int(arenas) if arenas else 2)


def test_variables_of_the_environment_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.arena_max=3")
    assert not share_arenas()
