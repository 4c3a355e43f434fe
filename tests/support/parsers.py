"""Misbehaving parsers for tests of the sandbox, whose processes find them by name."""

import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path


def double(number: int) -> int:
    return 2 * number


def refuse(reason: str) -> None:
    raise ValueError(reason)


def count_up(most: int) -> Iterator[int]:
    yield from range(most)


def die_at(most: int, marks: str) -> Iterator[int]:
    """Yield numbers, and die in the middle of the first attempt."""
    for number in range(most):
        if number == most // 2 and not Path(marks).exists():
            Path(marks).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        yield number


def leave(code: int) -> None:
    os._exit(code)


def die(name: str) -> None:
    os.kill(os.getpid(), getattr(signal, name))


def spin() -> None:
    while True:
        pass


def sleep() -> None:
    time.sleep(1000)


def eat() -> int:
    kept = [bytearray(50_000_000)]
    while True:
        kept.append(bytearray(b"x" * 50_000_000))


def shout() -> str:
    sys.stdout.write("not an answer")
    sys.stdout.flush()
    os.write(1, b"nor this")
    return "answer"


def secrets() -> list[str]:
    return [name for name in os.environ if name.startswith("BRAID_")]


def whoami() -> int:
    return os.getpid()
