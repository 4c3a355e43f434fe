"""The events of a run: one frozen class for each, and observers, which are functions that take any of them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from flows.author import Attempt, Outcome, RunResult
from flows.model import StepPath
from flows.planning import Plan


@dataclass(frozen=True)
class RunStarted:
    """The first event of every run."""

    plan: Plan
    run_id: str


@dataclass(frozen=True)
class StepStarted:
    """A handler's step has begun; it may still wait for a limit."""

    path: StepPath
    id: str
    waits_for: Callable[[], str] = field(default=lambda: "", compare=False, repr=False)
    """The thing it waits for at the time of the call; empty while its handler works."""


@dataclass(frozen=True)
class LoopStarted:
    """A loop knows how many items or batches it has."""

    path: StepPath
    id: str
    items: int
    batch_size: int | None = None
    """Items per batch; None for single items."""
    chosen: str = ""
    """The reason for that size; empty if the pipeline sets it."""
    elements: int | None = None
    """The number of elements in all batches together; the number of items if they are not lists."""


@dataclass(frozen=True)
class StepProgressed:
    """A call reported its progress; sent at intervals, not for every report."""

    path: StepPath
    id: str
    done: int
    total: int | None


@dataclass(frozen=True)
class StepStuck:
    """A call has been silent for longer than expected; sent again when the silence has doubled."""

    path: StepPath
    id: str
    silent_s: float
    """Seconds since its attempt began or since its last report of progress."""
    usual_s: float | None

    def __str__(self) -> str:
        usual = (
            f"usually it takes {self.usual_s:.1f} s"
            if self.usual_s is not None
            else "no earlier run has recorded its time"
        )
        return f"{self.id} ({self.path}) reports no progress for {self.silent_s:.0f} s; {usual}"


@dataclass(frozen=True)
class AttemptFinished:
    """One attempt at a step has ended."""

    path: StepPath
    id: str
    attempt: Attempt


@dataclass(frozen=True)
class StepFinished:
    """The outcome of a step, group, branch or item; a later one of the same path replaces it."""

    outcome: Outcome


@dataclass(frozen=True)
class RunFinished:
    """The last event of every run; without a result if it was stopped from outside."""

    result: RunResult | None


Event: TypeAlias = (
    RunStarted | StepStarted | LoopStarted | StepProgressed | StepStuck | AttemptFinished | StepFinished | RunFinished
)
Observer: TypeAlias = Callable[[Event], None]
"""Called on the event loop, in the order in which things happen; read events with `match`."""


def ignore_event(event: Event) -> None:
    """The observer of a run that is not watched."""


def combine_observers(*observers: Observer) -> Observer:
    """Several observers as one; each event reaches them in this order."""

    def observe(event: Event) -> None:
        for observer in observers:
            observer(event)

    return observe
