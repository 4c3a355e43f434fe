"""The results that a handler may return, and the outcomes that a run reports: one for everything that was declared."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from flows.author.call import ItemFailure, ItemStatus
from flows.author.prices import add_up
from flows.model import StepPath
from flows.state import Context

Status: TypeAlias = Literal["succeeded", "failed", "timed_out", "cancelled", "abandoned", "skipped"]
RunStatus: TypeAlias = Literal["succeeded", "partial", "failed"]
Kind: TypeAlias = Literal["step", "group", "item", "sequence", "pipeline"]


@dataclass(frozen=True)
class Success:
    """The success that a handler with a `Context` may return; returning nothing means the same."""

    value: Any = None


@dataclass(frozen=True)
class TransientFailure:
    """A failure that a handler returns if trying again may help."""

    message: str
    exception: BaseException | None = None
    retry_after_s: float | None = None


@dataclass(frozen=True)
class FatalFailure:
    """A failure that a handler returns if trying again cannot help."""

    message: str
    exception: BaseException | None = None


@dataclass(frozen=True)
class ErrorInfo:
    """The reason of a failure, as plain text that can be stored and shown."""

    kind: str
    message: str
    transient: bool = False


@dataclass(frozen=True)
class Attempt:
    """One attempt at one step."""

    number: int
    status: Literal["succeeded", "transient", "fatal", "timed_out", "cancelled"]
    started: float
    """Seconds since the epoch."""
    seconds: float
    cost: Mapping[str, float] = field(default_factory=dict[str, float])
    error: ErrorInfo | None = None


@dataclass(frozen=True)
class Outcome:
    """How one declared step, group, branch or item ended, even if it never started."""

    path: StepPath
    """The path in the plan, with indices of items in brackets: `3[2].0.1`."""
    id: str
    """The id of the step in the plan, and the items that it is in: `embed[2]`."""
    kind: Kind
    status: Status
    started: float | None = None
    """Seconds since the epoch; None if it never started."""
    seconds: float = 0.0
    attempts: int = 0
    cost: Mapping[str, float] = field(default_factory=dict[str, float])
    error: ErrorInfo | None = None
    reason: str = ""
    """Why it was skipped or cancelled."""
    failures: tuple[ItemFailure, ...] = ()
    """Items that the step set aside."""
    reused: bool = False
    """Whether it was taken over from the run that this run resumes; its seconds and cost were spent there."""
    items: tuple[ItemStatus, ...] = field(default=(), compare=False, repr=False)
    """The statuses of items that it reported; the run store keeps only the last one of each item."""

    @property
    def is_leaf(self) -> bool:
        return self.kind == "step"

    @property
    def step(self) -> str:
        """The id of the step in the plan: the same for all items of a loop."""
        return StepPath(self.id).step


@dataclass(frozen=True)
class RunResult:
    """A whole run: its status, every outcome in declared order, and its final context."""

    pipeline: str
    run_id: str
    status: RunStatus
    outcomes: tuple[Outcome, ...]
    context: Context
    started: float
    seconds: float
    transient: bool = False
    stopped: str = ""
    """Why no further step was started in a run that used up its budget, and how to go on."""
    late_cost: Mapping[str, float] = field(default_factory=dict[str, float])
    """Costs that calls reported after they had been given up: part of the run's cost, but of no outcome's."""

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the final state; equal for two runs with the same final state."""
        return self.context.fingerprint()

    @property
    def busy_seconds(self) -> float:
        """The seconds of all steps added up, which include waits for a processor.

        Running the steps one after another would have taken at most that long.
        """
        return sum(outcome.seconds for outcome in self.outcomes if outcome.is_leaf and not outcome.reused)

    @property
    def time_saved(self) -> float:
        """The most seconds that running side by side can have saved; never negative."""
        return max(0.0, self.busy_seconds - self.seconds)

    @property
    def cost(self) -> dict[str, float]:
        return add_up([total_cost(self.outcomes), self.late_cost])

    @property
    def failures(self) -> tuple[ItemFailure, ...]:
        return tuple(failure for outcome in self.outcomes for failure in outcome.failures)

    @property
    def errors(self) -> tuple[Outcome, ...]:
        """The outcomes of steps with an error of their own, in declared order."""
        return tuple(outcome for outcome in self.outcomes if outcome.is_leaf and outcome.error is not None)


def total_cost(outcomes: Iterable[Outcome]) -> dict[str, float]:
    """The cost of all steps by unit, failed and cancelled ones included, without the cost of earlier runs."""
    return add_up(outcome.cost for outcome in outcomes if outcome.is_leaf and not outcome.reused)


def failure_summary(failed: int, first: str) -> str:
    """The summary line for a failed group."""
    return f"Parallel step failed: {failed} handler(s) failed. First failure: {first}"


def now() -> float:
    """Seconds since the epoch."""
    return time.time()


def outcome_from_row(row: Mapping[str, Any]) -> Outcome:
    """The outcome in a row of a run store or in a JSON object."""
    return Outcome(
        path=StepPath(row["path"]),
        id=row["step_id"],
        kind=row["kind"],
        status=row["status"],
        started=row["started"],
        seconds=row["seconds"],
        attempts=row["attempts"],
        cost=dict(row["cost"]),
        error=ErrorInfo(**row["error"]) if row["error"] else None,
        reason=row["reason"],
        failures=tuple(ItemFailure(**failure) for failure in row["failures"]),
        reused=bool(row.get("reused", False)),
    )
