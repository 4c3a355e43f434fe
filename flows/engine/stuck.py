"""Stuck steps: found while they run, because they take longer than usual without a sign of progress."""

import asyncio
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from flows.calling import LeafCall
from flows.engine.events import Observer, StepProgressed, StepStuck
from flows.model import StepPath

logger = logging.getLogger(__name__)
EVERY_S = 5.0
"""Seconds between two checks of the running calls."""
TIMES, LEAST_S = 10.0, 300.0
"""A step is stuck after ten times its usual time, but at least five minutes."""
UNKNOWN_S = 3600.0
"""The limit of a step that has never succeeded before."""


@dataclass(frozen=True)
class Expectation:
    """How long steps may be silent; `usual_s` is the time of nine in ten earlier calls, by path in the plan."""

    after_s: float | None = None
    """If set, the limit of every step; else the limit depends on earlier runs."""
    usual_s: Mapping[str, float] = field(default_factory=dict[str, float])

    def limit_s(self, path: StepPath) -> float:
        """How long a call may report no progress."""
        usual = self.usual(path)
        if self.after_s is not None:
            return self.after_s
        return max(TIMES * usual, LEAST_S) if usual is not None else UNKNOWN_S

    def usual(self, path: StepPath) -> float | None:
        return self.usual_s.get(path.plain)


def usual_seconds(rows: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """The time that nine in ten recorded calls stayed within, by path in the plan; rows have `path` and `seconds`."""
    taken: dict[str, list[float]] = {}
    for row in rows:
        taken.setdefault(StepPath(row["path"]).plain, []).append(row["seconds"])
    return {path: sorted(found)[(len(found) * 9 - 1) // 10] for path, found in taken.items()}


@dataclass
class _WatchedCall:
    call: LeafCall
    attempt: int = 0
    reports: int = 0
    heard: float = 0.0
    named_at_s: float = 0.0
    """The seconds of silence at which it was last reported."""


class StuckWatch:
    """Watches the calls of one run; used on the event loop only, and with the loop's clock."""

    def __init__(self, expected: Expectation, observe: Observer) -> None:
        self._expected, self._observe = expected, observe
        self._calls: dict[str, _WatchedCall] = {}

    def add(self, call: LeafCall) -> None:
        self._calls[call.path] = _WatchedCall(call)

    def remove(self, call: LeafCall) -> None:
        self._calls.pop(call.path, None)

    def look(self, at: float) -> None:
        """Emit an event for each call with new progress since the last check, and for each newly stuck call.

        A stuck call is reported again when its silence has doubled. A call that waits for a limit or for a retry is not
        stuck.
        """
        for watched in self._calls.values():
            call, progress = watched.call, watched.call.progress
            if not progress.is_trying:
                watched.attempt = 0
                continue
            reports = progress.call.reports
            if progress.attempts != watched.attempt or reports != watched.reports:
                if reports and reports != watched.reports:
                    done, total = progress.call.done, progress.call.total
                    self._observe(StepProgressed(call.path, call.id, done, total))
                watched.attempt, watched.reports = progress.attempts, reports
                watched.heard, watched.named_at_s = at, 0.0
                continue
            silent = at - watched.heard
            if silent >= max(self._expected.limit_s(call.path), 2 * watched.named_at_s):
                watched.named_at_s = silent
                found = StepStuck(call.path, call.id, silent, self._expected.usual(call.path))
                logger.warning("%s", found)
                self._observe(found)

    async def forever(self) -> None:
        """Check every few seconds, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(EVERY_S)
            self.look(loop.time())
