"""The state of a running run (outcomes, limits), and the scope in which a node runs."""

import asyncio
from collections import ChainMap
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from flows.author import BranchResult, ErrorInfo, Kind, Outcome, Status, add_up
from flows.calling import CallResult, Cluster, LeafCall, RunLeaf
from flows.engine.events import Observer, StepFinished
from flows.engine.journal import Journal
from flows.engine.stuck import StuckWatch
from flows.limits import RunLimits, Slot, Window
from flows.model import StepPath
from flows.planning import Chain, FanIn, Group, Leaf, Loop, Node, Plan, StepFingerprint, Sub, node_children
from flows.state import Context

OUT_OF_TIME: tuple[Status, ...] = ("timed_out", "abandoned", "cancelled")
"""The statuses of branches and items whose only problem was time."""


@dataclass(frozen=True)
class NodeResult:
    """How a node ended, as the enclosing node sees it."""

    status: Status
    value: Any = None
    quality: float | None = None
    error: ErrorInfo | None = None
    transient: bool = False
    reason: str = ""

    @property
    def ok(self) -> bool:
        return self.status in ("succeeded", "skipped")

    @property
    def stopped(self) -> bool:
        """Whether it ended because it was stopped, even if its thread still runs."""
        return self.status == "cancelled" or (self.status == "abandoned" and self.error is None)


@dataclass(frozen=True)
class Scope:
    """Where in the run a node runs: the enclosing items, the deadline, and the slot that it uses."""

    deadline: float | None = None
    start: str = ""
    """The path in the plan that the paths of the nodes begin with."""
    run_path: str = ""
    """Its counterpart in the run: `3[2]` in an item of the loop at `3`, `1/` in the sub-pipeline at `1`."""
    item: str = ""
    """Indices of the enclosing items, as text: `[2][0]`."""
    key: str = ""
    """Fingerprints of the enclosing items: the same for the same items in another run."""
    slot: Slot | None = None
    windows: tuple[Window, ...] = ()
    """The concurrency windows of the enclosing sub-pipelines, innermost first."""
    groups: ChainMap[str, list[BranchResult]] = field(default_factory=ChainMap[str, list[BranchResult]])
    """The results of finished groups by id; those of this item or pipeline take precedence over enclosing ones."""

    @property
    def time_is_up(self) -> bool:
        return self.deadline is not None and asyncio.get_running_loop().time() >= self.deadline

    def path(self, node: Node) -> StepPath:
        return StepPath(node.path).moved(self.start, self.run_path)

    def name(self, node: Node) -> str:
        return node.id + self.item

    def until(self, deadline: float | None) -> "Scope":
        """The same scope with an earlier deadline; a later one changes nothing."""
        if deadline is None or (self.deadline is not None and self.deadline <= deadline):
            return self
        return replace(self, deadline=deadline)


@dataclass(frozen=True)
class UndoableCall:
    """A call that succeeded and can be undone, with the context it saw."""

    call: LeafCall
    result: CallResult


@dataclass
class RunState:
    """Everything that is shared by the whole run; used on the event loop only."""

    plan: Plan
    run_leaf: RunLeaf
    observe: Observer
    outcomes: dict[StepPath, Outcome] = field(default_factory=dict[StepPath, Outcome])
    run_id: str = ""
    limits: RunLimits = field(default_factory=RunLimits)
    fingerprints: Mapping[str, StepFingerprint] = field(default_factory=dict[str, StepFingerprint])
    """By id of the step; empty if nothing is kept."""
    undoable: list[UndoableCall] = field(default_factory=list[UndoableCall])
    """In the order in which they ended."""
    lost: list[StepPath] = field(default_factory=list[StepPath])
    """Paths of the branches of races that others won."""
    journal: Journal = field(default_factory=Journal)
    item_seconds: Mapping[str, float] = field(default_factory=dict[str, float])
    """Seconds per item of loops in earlier runs, by path of the loop."""
    fails_run: list[StepPath] = field(default_factory=list[StepPath])
    """Paths of groups and loops that succeeded despite a failure, but whose rule makes the run fail."""
    watch: StuckWatch | None = None
    cluster: Cluster | None = None
    """Where sync handlers run, if not here."""

    def amend(self, path: StepPath, reason: str, cost: Mapping[str, float]) -> None:
        """Change the reason of a recorded outcome, and add to its cost."""
        known = self.outcomes[path]
        outcome = self.outcomes[path] = replace(known, reason=reason, cost=add_up([known.cost, cost]))
        self.observe(StepFinished(outcome))

    def record(self, outcome: Outcome) -> None:
        """Keep an outcome, the only one of its path.

        A second outcome for a path is a bug of the engine.
        """
        assert outcome.path not in self.outcomes, f"two outcomes for {outcome.path}"
        self.observe(StepFinished(outcome))
        # The statuses of items are for observers; kept here, they would fill the memory of a run over very many.
        self.outcomes[outcome.path] = replace(outcome, items=()) if outcome.items else outcome

    def in_order(self) -> tuple[Outcome, ...]:
        """All outcomes in declared order."""
        return tuple(sorted(self.outcomes.values(), key=lambda outcome: outcome.path.sort_key))

    def only_refused(self, path: StepPath) -> bool:
        """Whether some steps below `path` were not started because the budget is used up, and none failed."""
        if not self.limits.budget.refusal:
            return False
        below = [outcome for outcome in self.outcomes.values() if outcome.is_leaf and outcome.path.inside(path)]
        return not any(outcome.error for outcome in below) and any(
            outcome.reason == self.limits.budget.refusal for outcome in below
        )

    def never_started(self, node: Node, scope: Scope, status: Status, reason: str) -> NodeResult:
        """Record for `node` and all nodes in it that they never started."""
        kind = outcome_kind(node)
        if kind is not None and scope.path(node) not in self.outcomes:
            self.record(Outcome(path=scope.path(node), id=scope.name(node), kind=kind, status=status, reason=reason))
        for child in () if isinstance(node, Loop) else node_children(node):
            self.never_started(child, inside(node, scope), status, reason)
        return NodeResult(status, reason=reason, transient=status in ("cancelled", "timed_out"))


def inside(node: Node, scope: Scope) -> Scope:
    """The scope of the nodes declared in `node`; the plan of a sub-pipeline numbers its steps anew."""
    if isinstance(node, Sub):
        return replace(
            scope,
            start="",
            run_path=f"{scope.path(node)}/",
            groups=scope.groups.new_child(),
            windows=(Window(node.plan.limit.value), *scope.windows),
        )
    return scope


def outcome_kind(node: Node) -> Kind | None:
    """The kind of outcome that a node has of its own; None for the list of steps of a pipeline, a case or an item."""
    match node:
        case Leaf() | FanIn():
            return "step"
        case Chain():
            return "sequence" if node.path and node.own_outcome else None
        case Group() if node.derived and not node.own_outcome:
            return None
        case _:
            return "group"


def deadline_after(timeout_s: float | None) -> float | None:
    """Now plus a timeout, on the event loop's clock."""
    return None if timeout_s is None else asyncio.get_running_loop().time() + timeout_s


def stop_is_asked() -> bool:
    """Whether the running task has been cancelled, even if a handler ignored it; if so, no further call may begin."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def wait_for_all(tasks: Sequence["asyncio.Task[None]"]) -> bool:
    """Wait for all tasks; if the caller is cancelled, cancel them. Return whether it was cancelled."""
    cancelled = False
    pending = set(tasks)
    while pending:
        try:
            _, pending = await asyncio.wait(pending)
        except asyncio.CancelledError:
            cancelled = True
            for task in pending:
                task.cancel()
    for task in tasks:
        if not task.cancelled():
            task.result()
    return cancelled


RunNode: TypeAlias = Callable[[RunState, Node, Context, Scope], Awaitable[NodeResult]]
"""How the engine runs the nodes inside a group or a loop."""
