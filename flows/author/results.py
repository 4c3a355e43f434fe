"""The results that a handler may return, and the outcomes of a run: one per declared step, group, branch and item."""

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from flows.author.call import ItemFailure, ItemStatus
from flows.author.outputs import OutputField, OutputRecord, output_values, record_outputs
from flows.author.prices import add_up
from flows.errors import UnknownName
from flows.model import StepPath, hide_secrets
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

    def __post_init__(self) -> None:
        object.__setattr__(self, "message", hide_secrets(self.message))


@dataclass(frozen=True)
class Attempt:
    """One attempt at one step."""

    number: int
    status: Status
    started: float
    """Seconds since the epoch."""
    seconds: float
    """The seconds that the handler worked."""
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
    """When its first attempt began, in seconds since the epoch; None if it never started."""
    seconds: float = 0.0
    """For a step, the seconds that its handler worked in all attempts; for others, the seconds from start to end."""
    waits: Mapping[str, float] = field(default_factory=dict[str, float])
    """For a step, the seconds that it waited, by the thing that it waited for."""
    asked: float | None = None
    """For a step, when it could have begun if it had not waited, in seconds since the epoch."""
    attempts: int = 0
    cost: Mapping[str, float] = field(default_factory=dict[str, float])
    error: ErrorInfo | None = None
    reason: str = ""
    """Why it was skipped or cancelled."""
    failures: tuple[ItemFailure, ...] = ()
    """Items that the step set aside."""
    reused: bool = False
    """Whether the result comes from the run that this run resumes; its seconds and cost were spent in that run."""
    size: int = field(default=1, compare=False)
    """For an item of a loop, how many things it holds: more than one if it is a batch."""
    tries: tuple[Attempt, ...] = field(default=(), compare=False, repr=False)
    """Its attempts, in order; the run store keeps them in a table of their own."""
    items: tuple[ItemStatus, ...] = field(default=(), compare=False, repr=False)
    """The statuses of items that it reported; the run store keeps only the last one of each item."""

    def __post_init__(self) -> None:
        if self.reason:
            object.__setattr__(self, "reason", hide_secrets(self.reason))

    @property
    def is_leaf(self) -> bool:
        return self.kind == "step"

    @property
    def waited_s(self) -> float:
        return sum(self.waits.values())

    @property
    def ended(self) -> float | None:
        """When it ended, in seconds since the epoch; None if it never started."""
        begun = self.started if self.asked is None else self.asked
        return None if begun is None or self.started is None else begun + self.seconds + self.waited_s

    @property
    def step(self) -> str:
        """The id of the step in the plan: the same for all items of a loop."""
        return StepPath(self.id).step


@dataclass(frozen=True, repr=False)
class RunResult:
    """A whole run: its status, every outcome in declared order, and the context it left.

    `result["word_counts"]` and `result.word_counts` are the final value of the field `word_counts`; a field that is
    called like an attribute of the result itself (`status`, `cost`, …) is found by `[]` only.
    """

    pipeline: str
    run_id: str
    status: RunStatus
    outcomes: tuple[Outcome, ...]
    context: Context
    started: float
    seconds: float
    transient: bool = False
    stopped: str = ""
    """If the run used up its budget: why no further step was started, and how to continue."""
    late_cost: Mapping[str, float] = field(default_factory=dict[str, float])
    """Costs that calls reported after the engine gave them up; part of the run's cost, but not of any outcome."""
    summary: str = ""
    """The result in one line, if there is one: `15 documents: 12 new, 2 changed; 171 passages`."""
    flow_run_id: str | None = None
    """The id of the Prefect flow run; None if the pipeline was run by direct calls."""
    output_fields: tuple[OutputField, ...] = ()
    """The fields that are the result of the pipeline, including fields that no step has written."""
    kept_outputs: tuple[OutputRecord, ...] | None = None
    """The outputs as the record of the run keeps them; None if the run is not recorded."""

    @property
    def outputs(self) -> dict[str, Any]:
        """The outputs of the pipeline by name, as the steps wrote them; outputs without a value are left out."""
        return output_values(self.context, self.output_fields)

    @property
    def output_records(self) -> tuple[OutputRecord, ...]:
        """The shown part of the outputs: plain data within limits, without secrets."""
        return record_outputs(self.context, self.output_fields) if self.kept_outputs is None else self.kept_outputs

    def __getitem__(self, field: str) -> Any:
        """The final value of a field.

        Raises:
            UnknownName: there is no such field; the message suggests the nearest name, and a note lists the failures of
            the run.
        """
        if field not in self.context.data:
            unknown = UnknownName("field", str(field), list(self))
            if self.errors:
                unknown.add_note(f"The run did not succeed ({self._ending()}).")
            raise unknown
        return self.context.data[field]

    def __getattr__(self, name: str) -> Any:
        # Python also calls this while it unpickles a result, and notebooks call it to look for display methods.
        if name.startswith("_") or name in RunResult.__dataclass_fields__:
            raise AttributeError(name)
        try:
            return self[name]
        except UnknownName as unknown:
            missing = AttributeError(str(unknown), name=name, obj=self)
            missing.__notes__ = getattr(unknown, "__notes__", [])
            raise missing from None

    def __iter__(self) -> Iterator[str]:
        """The names of the final fields."""
        return iter(self.context.data)

    def __contains__(self, field: object) -> bool:
        return field in self.context.data

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self]

    def __repr__(self) -> str:
        steps = [outcome for outcome in self.outcomes if outcome.is_leaf]
        succeeded = sum(outcome.status == "succeeded" for outcome in steps)
        count = "" if succeeded == len(steps) else f"{succeeded} of "
        took = f"{count}{len(steps)} {'step' if len(steps) == 1 else 'steps'} in {self.seconds:.2f} s"
        return f"<{self._ending()}; {took}; fields: {', '.join(self) or 'none'}; run {self.run_id}>"

    def _ending(self) -> str:
        """How the run ended, and the first of its errors."""
        if not self.errors or self.errors[0].error is None:
            return f"{self.pipeline}: {self.status}"
        return f"{self.pipeline}: {self.status}, {self.errors[0].id}: {self.errors[0].error.message}"

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the final state; equal for two runs with the same final state."""
        return self.context.fingerprint()

    @property
    def busy_seconds(self) -> float:
        """The total seconds that the handlers worked; of all waits, only those for a processor core are included.

        Running the steps one after another would have taken at most that long.
        """
        return sum(outcome.seconds for outcome in self.outcomes if outcome.is_leaf and not outcome.reused)

    @property
    def waited_seconds(self) -> float:
        """The seconds that steps waited, added up."""
        return sum(outcome.waited_s for outcome in self.outcomes if outcome.is_leaf)

    @property
    def time_saved(self) -> float:
        """An upper bound, in seconds, of the time that running steps in parallel has saved; never negative."""
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
    """The cost of all steps by unit, including failed and cancelled ones; the cost of earlier runs is not included."""
    return add_up(outcome.cost for outcome in outcomes if outcome.is_leaf and not outcome.reused)


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
        waits=dict(row.get("waits") or {}),
        asked=row.get("asked"),
        attempts=row["attempts"],
        cost=dict(row["cost"]),
        error=ErrorInfo(**row["error"]) if row["error"] else None,
        reason=row["reason"],
        failures=tuple(ItemFailure(**failure) for failure in row["failures"]),
        reused=bool(row.get("reused", False)),
    )
