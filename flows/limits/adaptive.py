"""How many calls at once a provider bears, found by trying: one more per round that went well, half after a refusal.

Near the number that was refused last, it is tried sixteen times as slowly.

Source: Chiu & Jain, Analysis of the increase and decrease algorithms for congestion avoidance, 1989 (AIMD).
"""

from dataclasses import dataclass, field

from flows.author import Ending

_FIRST = 2.0
_SLOWER = 4.0
"""A call that takes so many times as long as usual is a sign of overload."""
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
    """Calls that began before have been answered for: one overload halves the window once."""

    @property
    def limit(self) -> int:
        return max(1, int(self.allowed))

    def learn(self, ending: Ending, *, began: float, now: float, running: int, ceiling: int) -> None:
        """Note how a call ended, while `running` others were at work."""
        if ending.transient:
            self._cut(0.5, began, now)
        elif ending.succeeded:
            seconds = now - began
            slow = self.calls >= _KNOWN_AFTER and seconds > _SLOWER * self.usual_s
            self.calls += 1
            self.usual_s += (seconds - self.usual_s) * max(_SMOOTHING, 1 / self.calls)
            if slow:
                self._cut(0.75, began, now)
            elif running + 1 >= self.limit:  # a window that is not used shows nothing
                near = self.refused - 1.5 <= self.allowed <= self.refused + 1
                self.allowed = min(float(ceiling), self.allowed + 1 / (self.allowed * (_CAREFUL if near else 1.0)))

    def _cut(self, factor: float, began: float, now: float) -> None:
        if began >= self.cut_at:
            self.refused = self.allowed
            self.allowed = max(1.0, self.allowed * factor)
            self.cut_at = now
