"""What a run keeps while it goes on: outcomes, windows, the results of groups; and who is told about them."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeAlias

from flows.context import Context
from flows.invoke import LeafCall, LeafResult
from flows.meter import Meter
from flows.plan import Chain, FanIn, Group, Leaf, Loop, Node, Plan, Sub, node_children
from flows.results import ErrorInfo, Kind, Outcome, Status
from flows.strategies import BranchResult
from flows.windows import Slot, Window


class RunLeaf(Protocol):
    """How a leaf is run; all retries included. Never raises; a cancelled call is a result too."""

    async def __call__(self, leaf: LeafCall) -> LeafResult: ...


class Observer:
    """Told what happens, on the event loop, in the order it happens; override what you need."""

    def run_started(self, plan: Plan, run_id: str) -> None: ...

    def step_started(self, path: str, id: str) -> None: ...

    def loop_started(self, path: str, id: str, items: int) -> None: ...

    def finished(self, outcome: Outcome) -> None: ...


class Observers(Observer):
    """Several observers as one."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = tuple(observers)

    def run_started(self, plan: Plan, run_id: str) -> None:
        for observer in self._observers:
            observer.run_started(plan, run_id)

    def step_started(self, path: str, id: str) -> None:
        for observer in self._observers:
            observer.step_started(path, id)

    def loop_started(self, path: str, id: str, items: int) -> None:
        for observer in self._observers:
            observer.loop_started(path, id, items)

    def finished(self, outcome: Outcome) -> None:
        for observer in self._observers:
            observer.finished(outcome)


@dataclass(frozen=True)
class NodeResult:
    """How a node ended, for the node around it."""

    status: Status
    value: Any = None
    quality: float | None = None
    error: ErrorInfo | None = None
    transient: bool = False
    started: float | None = None
    reason: str = ""

    @property
    def ok(self) -> bool:
        return self.status in ("succeeded", "skipped")


@dataclass(frozen=True)
class Scope:
    """Where in the run a node is being run: which items it is in, until when, and in whose slot."""

    deadline: float | None = None
    prefix: str = ""
    """Put before a node's path; it replaces `strip` characters of it."""
    strip: int = 0
    item: str = ""
    """Indices of the items around, as text: `[2][0]`."""
    slot: Slot | None = None

    def path(self, node: Node) -> str:
        return self.prefix + node.path[self.strip :]

    def name(self, node: Node) -> str:
        return node.id + self.item

    def until(self, deadline: float | None) -> "Scope":
        """The same with a deadline that is not later than this one's."""
        if deadline is None or (self.deadline is not None and self.deadline <= deadline):
            return self
        return replace(self, deadline=deadline)


@dataclass
class RunState:
    """Everything that is shared by the whole run; used on the event loop only."""

    plan: Plan
    run_leaf: RunLeaf
    observer: Observer
    outcomes: dict[str, Outcome] = field(default_factory=dict[str, Outcome])
    groups: dict[str, list[BranchResult]] = field(default_factory=dict[str, list[BranchResult]])
    resources: Mapping[str, Window] = field(default_factory=dict[str, Window])
    calls: Window = field(default_factory=lambda: Window(None))
    run_id: str = ""
    meter: Meter = field(default_factory=Meter)

    def record(self, outcome: Outcome) -> None:
        """Keep an outcome, the only one of its path.

        A second one would be a fault of the engine.
        """
        assert outcome.path not in self.outcomes, f"two outcomes for {outcome.path}"
        self.outcomes[outcome.path] = outcome
        self.observer.finished(outcome)

    def windows(self, leaf: Leaf) -> tuple[Window, ...]:
        """What an attempt of `leaf` holds, always in the same order, so that no two calls wait for each other."""
        return (self.calls, *(self.resources[name] for name in sorted(leaf.uses)))

    def in_order(self) -> tuple[Outcome, ...]:
        """All outcomes in declared order."""
        return tuple(sorted(self.outcomes.values(), key=lambda outcome: path_key(outcome.path)))

    def only_refused(self, path: str) -> bool:
        """Whether nothing below `path` failed, and something was not started because the budget is used up."""
        if not self.meter.refusal:
            return False
        below = [
            outcome
            for outcome in self.outcomes.values()
            if outcome.is_leaf and (not path or outcome.path[: len(path) + 1].rstrip(".[/:") == path)
        ]
        return not any(outcome.error for outcome in below) and any(
            outcome.reason == self.meter.refusal for outcome in below
        )

    def never_started(self, node: Node, scope: Scope, status: Status, reason: str) -> NodeResult:
        """Give `node` and all that is declared in it the outcome of something that never started."""
        kind = kind_of(node)
        if kind is not None and scope.path(node) not in self.outcomes:
            self.record(Outcome(scope.path(node), scope.name(node), kind, status, reason=reason))
        for child in () if isinstance(node, Loop) else node_children(node):
            self.never_started(child, inside(node, scope), status, reason)
        return NodeResult(status, reason=reason, transient=status == "cancelled")


def inside(node: Node, scope: Scope) -> Scope:
    """The scope of what is declared in `node`; the plan of a sub-pipeline numbers its steps anew."""
    if isinstance(node, Sub):
        return replace(scope, prefix=f"{scope.path(node)}/", strip=0)
    return scope


def kind_of(node: Node) -> Kind | None:
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


def path_key(path: str) -> tuple[int, ...]:
    """Sorts paths in declared order: `3[2].0` after `3` and before `3[10]`."""
    return tuple(int(number) for number in re.findall(r"\d+", path))


def expire(deadline: float | None, timeout_s: float | None) -> float | None:
    """The earlier of a deadline and now plus a timeout, on the event loop's clock."""
    if timeout_s is None:
        return deadline
    until = asyncio.get_running_loop().time() + timeout_s
    return until if deadline is None else min(deadline, until)


async def all_done(tasks: Sequence["asyncio.Task[None]"]) -> bool:
    """Wait for all tasks; when the caller is cancelled meanwhile, cancel them, wait still, and say so."""
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
"""How the engine runs what is inside a group or a loop."""
