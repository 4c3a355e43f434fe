"""One schedule: the delay and the fault of every call, all drawn from one number.

asyncio runs tasks in the order in which they become ready, and the engine may rely on that. Nothing determines how long
a call takes, how many turns its answer needs, and which of two calls at the same instant is answered first. A schedule
chooses these, each by its own name (path and attempt of the call). So one choice can be left out while the others stay
the same, which is how a failing schedule is reduced.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import TypeVar

Option = TypeVar("Option")
_TICKS = (1, 1, 2, 2, 3, 5, 8, 13)
"""Few, small numbers, so that calls often end at the same instant."""


@dataclass(frozen=True)
class Delay:
    """Virtual time, then turns of the event loop."""

    seconds: float = 0.0
    turns: int = 0

    def __bool__(self) -> bool:
        return bool(self.seconds or self.turns)

    def __str__(self) -> str:
        parts = ([f"{self.seconds:g} s"] if self.seconds else []) + ([f"{self.turns} turns"] if self.turns else [])
        return " and ".join(parts) or "no time"


@dataclass
class Schedule:
    """The choices that follow from a seed; with `kept`, only the choices of these names are made."""

    seed: int
    tick_s: float = 0.1
    kept: frozenset[str] | None = None
    made: dict[str, str] = field(default_factory=dict[str, str])
    """The choices made so far, in words, by name; choices without an effect are left out."""

    def fraction(self, name: str) -> float:
        """A number in [0, 1) that depends only on the seed and the name."""
        digest = blake2b(name.encode(), digest_size=8, key=str(self.seed).encode()).digest()
        return int.from_bytes(digest, "big") / 2**64

    def one_of(self, name: str, options: Sequence[Option]) -> Option:
        return options[int(self.fraction(name) * len(options))]

    def allows(self, name: str) -> bool:
        return self.kept is None or name in self.kept

    def delay(self, name: str) -> Delay:
        """The delay of that name."""
        if not self.allows(name):
            return Delay()
        kind = self.fraction(f"{name} kind")
        ticks = 0 if kind < 0.6 else self.one_of(f"{name} ticks", _TICKS)
        turns = 0 if kind < 0.3 else self.one_of(f"{name} turns", (0, 1, 2, 4, 7))
        chosen = Delay(ticks * self.tick_s, turns)
        if chosen:
            self.made[name] = f"takes {chosen}"
        return chosen

    def with_only(self, kept: frozenset[str]) -> "Schedule":
        return Schedule(self.seed, self.tick_s, kept)
