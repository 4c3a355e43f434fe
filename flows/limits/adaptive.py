"""Finds how many parallel calls a provider accepts: one more after each successful round, half after a refusal.

Near the number that was last refused, the window grows sixteen times as slowly.

Source: Chiu & Jain, Analysis of the increase and decrease algorithms for congestion avoidance, 1989 (AIMD).
"""

from dataclasses import dataclass, field

from flows.author import Ending

_FIRST = 2.0
_SLOWER = 4.0
"""A call that takes this many times as long as usual is a sign of overload."""
_KNOWN_AFTER = 20
_SMOOTHING = 0.05
_CAREFUL = 16.0


@dataclass(eq=False)
class Adaptive:
    """The window of one resource; times are on the event loop's clock."""

    allowed: float = _FIRST
    usual_s: float = 0.0
    calls: int = 0
    refused: float = float("inf")
    """The window at the last refusal."""
    cut_at: float = field(default=float("-inf"))
    """Calls that began before this time do not halve the window again, since one overload should halve it once."""

    @property
    def limit(self) -> int:
        return max(1, int(self.allowed))

    def learn(self, ending: Ending, *, began: float, now: float, running: int, ceiling: int) -> None:
        """Adjust the window to how a call ended while `running` others were running."""
        if ending.transient:
            self._cut(0.5, began, now)
        elif ending.succeeded:
            seconds = now - began
            slow = self.calls >= _KNOWN_AFTER and seconds > _SLOWER * self.usual_s
            self.calls += 1
            self.usual_s += (seconds - self.usual_s) * max(_SMOOTHING, 1 / self.calls)
            if slow:
                self._cut(0.75, began, now)
            elif running + 1 >= self.limit:  # success in a window that is not full is no evidence
                near = self.refused - 1.5 <= self.allowed <= self.refused + 1
                self.allowed = min(float(ceiling), self.allowed + 1 / (self.allowed * (_CAREFUL if near else 1.0)))

    def _cut(self, factor: float, began: float, now: float) -> None:
        if began >= self.cut_at:
            self.refused = self.allowed
            self.allowed = max(1.0, self.allowed * factor)
            self.cut_at = now
