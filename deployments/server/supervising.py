"""Keeps programs running: restarts them, with growing pauses, when they end or stop answering."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from flows.errors import OrchestrationError

TRIES = 8
"""A program that ends this many times in a row is not restarted."""
STEADY_S = 120.0
"""After running this many seconds, an end counts as the first one again."""
LONGEST_PAUSE_S = 60.0
SILENT_S = 120.0
"""A program that has not answered for this many seconds is ended and restarted."""
_ASK_EVERY_S = 5.0


class Running(Protocol):
    """A process that was started."""

    def poll(self) -> int | None:
        """The exit code; None while it runs."""
        ...


@dataclass(frozen=True)
class Program:
    """The functions that start, end and check a program."""

    name: str
    start: Callable[[], Running]
    stop: Callable[[], None]
    answers: Callable[[], bool] | None = None
    """Checks whether it answers; without it, a running process counts as healthy."""
    log_end: Callable[[], str] = lambda: ""


class GivenUp(OrchestrationError):
    """A program that ended again and again."""


@dataclass
class _Watched:
    program: Program
    process: Running | None = None
    began: float = 0.0
    ends: int = 0
    """How many times it has ended in a row."""
    again_at: float = 0.0
    heard: float = 0.0
    asked: float = field(default=float("-inf"))
    announced: bool = True


class Supervisor:
    """Keeps programs running; call `look` regularly; it blocks only while it ends a program."""

    def __init__(
        self, programs: Sequence[Program], *, say: Callable[[str], None], now: Callable[[], float] = time.monotonic
    ) -> None:
        self._watched = [_Watched(program) for program in programs]
        self._say, self._now = say, now

    def adopt(self, name: str, process: Running) -> None:
        """Watch a program that is already running."""
        one = next(one for one in self._watched if one.program.name == name)
        one.process, one.began, one.heard = process, self._now(), self._now()

    def look(self) -> None:
        """Start the programs that are due, and record those that have ended.

        Raises:
            GivenUp: a program has ended `TRIES` times in a row.
        """
        for one in self._watched:
            if one.process is None:
                if self._now() >= one.again_at:
                    self._start(one)
            elif (code := one.process.poll()) is not None:
                self._ended(one, f"ended ({_how(code)})")
            else:
                self._listen(one)

    def _start(self, one: _Watched) -> None:
        try:
            one.process = one.program.start()
        except OSError as error:  # a full disk, for example
            self._ended(one, f"could not be started ({error})")
            return
        one.began = one.heard = self._now()
        one.announced = one.ends == 0

    def _listen(self, one: _Watched) -> None:
        now, program = self._now(), one.program
        if now - one.asked >= _ASK_EVERY_S:
            one.asked = now
            if program.answers is None or program.answers():
                one.heard = self._now()
                if not one.announced and (program.answers is not None or now - one.began >= _ASK_EVERY_S):
                    one.announced = True
                    self._say(f"{program.name} runs again")
        if now - one.heard > SILENT_S:
            program.stop()
            self._ended(one, f"did not answer for {SILENT_S:.0f} s and was ended")

    def _ended(self, one: _Watched, how: str) -> None:
        ran_s = self._now() - one.began if one.process is not None else 0.0
        one.process = None
        one.ends = 1 if ran_s >= STEADY_S else one.ends + 1
        if one.ends >= TRIES:
            raise GivenUp(
                f"{one.program.name} {how}, {one.ends} times in a row, so `braid up` stops. "
                f"{one.program.log_end()}".rstrip()
            )
        pause_s = min(LONGEST_PAUSE_S, 2.0 ** (one.ends - 1))
        one.again_at = self._now() + pause_s
        count = f"end {one.ends} in a row; `braid up` stops at {TRIES}"
        self._say(f"{one.program.name} {how}; it starts again in {pause_s:.0f} s ({count})")


def _how(code: int) -> str:
    return f"killed by signal {-code}" if code < 0 else f"exit code {code}"
