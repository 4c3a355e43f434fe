"""The critical path of a run: the calls that determined when it ended, derived from recorded times only."""

from collections.abc import Iterable
from dataclasses import dataclass

from flows.author import Outcome


@dataclass(frozen=True)
class Link:
    """A call of the critical path."""

    outcome: Outcome
    before_s: float
    """The seconds between the end of the call before and its start."""

    @property
    def worked_s(self) -> float:
        return self.outcome.seconds

    @property
    def waited_s(self) -> float:
        """The seconds in which the run waited for it although it did not work: before its start, between attempts."""
        return self.before_s + max(0.0, end_time(self.outcome) - start_time(self.outcome) - self.outcome.seconds)


def critical_path(outcomes: Iterable[Outcome], *, started: float) -> list[Link]:
    """The calls that determined the end of the run, first to last.

    The path is found backwards: the call that ended last, then the last call that ended before that one started, and so
    on. So the path goes through waits for limits, not only through dependencies. Its work and its waits add up to the
    seconds until its end.
    """
    ran = sorted((o for o in outcomes if o.is_leaf and o.started is not None and not o.reused), key=end_time)
    found: list[Link] = []
    while ran:
        last = ran.pop()
        begun = start_time(last)
        # Clocks are read at slightly different moments, so a call may seem to end after the start of the next one.
        while ran and (end_time(ran[-1]) > begun + min(0.005, ran[-1].seconds / 2) or start_time(ran[-1]) >= begun):
            ran.pop()
        found.append(Link(last, max(0.0, begun - (end_time(ran[-1]) if ran else started))))
    return found[::-1]


def start_time(outcome: Outcome) -> float:
    """When the first attempt of a call began."""
    return outcome.started or 0.0


def end_time(outcome: Outcome) -> float:
    """When a call ended."""
    return outcome.ended or 0.0
