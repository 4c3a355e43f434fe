"""Estimates a run's time and cost from recorded runs: per step, in total, and whether parallelism pays off."""

import heapq
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, assert_never

from flows.author import add_up
from flows.engine import choose_batch_size, item_seconds
from flows.model import StepPath
from flows.planning import Chain, Choice, FanIn, Group, Leaf, Loop, Node, Plan, Sub, node_children

WORTH_IT_S = 0.1
"""The seconds that parallelism must save to be worth it."""


@dataclass(frozen=True)
class StepEstimate:
    """The time and cost per call of one step in the recorded runs, and the number of calls per run."""

    path: str
    id: str
    calls: float
    seconds_p50: float
    seconds_p90: float
    cost_p50: dict[str, float] = field(default_factory=dict[str, float])
    cost_p90: dict[str, float] = field(default_factory=dict[str, float])


@dataclass(frozen=True)
class GroupEstimate:
    """The time of a group or loop, in parallel and in sequence."""

    path: str
    id: str
    seconds: float
    in_order_s: float
    short_branches: tuple[str, ...]
    """Branches under 100 ms, which take about as long as starting them."""

    @property
    def saved_s(self) -> float:
        return max(0.0, self.in_order_s - self.seconds)

    @property
    def worth_it(self) -> bool:
        return self.saved_s >= WORTH_IT_S


@dataclass(frozen=True)
class Estimate:
    """The expected time and cost of a plan; `p90` assumes that all steps are slow, so a run is rarely slower."""

    runs: int
    seconds_p50: float
    seconds_p90: float
    in_order_s: float
    cost_p50: dict[str, float]
    cost_p90: dict[str, float]
    steps: tuple[StepEstimate, ...]
    groups: tuple[GroupEstimate, ...]
    critical_path: tuple[str, ...]
    unknown: tuple[str, ...]
    """Steps that ran in no recorded run; they are not in the sums."""
    batches: tuple[str, ...] = ()
    """The size of batches according to recorded runs, for each loop with `batch_size: auto`."""


def estimate(plan: Plan, rows: Iterable[Mapping[str, Any]]) -> Estimate | None:
    """The estimate of a plan from rows of recorded steps (`run_id`, `path`, `seconds`, `cost`); None without rows."""
    by_path: dict[StepPath, list[Mapping[str, Any]]] = {}
    runs: set[str] = set()
    listed = list(rows)
    for row in listed:
        runs.add(row["run_id"])
        by_path.setdefault(StepPath(row["path"]).plain, []).append(row)
    if not runs:
        return None
    leaves = list(_leaves(plan.root, ""))
    steps = {path: _step_estimate(path, node.id, by_path[path], len(runs)) for path, node in leaves if path in by_path}
    limits = _limits(plan)
    usual = _PlanTimer({path: step.seconds_p50 for path, step in steps.items()}, steps, limits)
    slow = _PlanTimer({path: step.seconds_p90 for path, step in steps.items()}, steps, limits)
    total = usual.node(plan.root, "")
    return Estimate(
        runs=len(runs),
        seconds_p50=total.seconds,
        seconds_p90=slow.node(plan.root, "").seconds,
        in_order_s=total.in_order_s,
        cost_p50=_total_cost(steps.values(), "cost_p50"),
        cost_p90=_total_cost(steps.values(), "cost_p90"),
        steps=tuple(steps.values()),
        groups=tuple(usual.groups),
        critical_path=total.critical,
        unknown=tuple(node.id for path, node in leaves if path not in steps and node.enabled),
        batches=tuple(_batch_texts(plan, item_seconds(listed))),
    )


def _batch_texts(plan: Plan, item_s: Mapping[str, float]) -> Iterable[str]:
    for node in plan.nodes:
        if isinstance(node, Loop) and node.batch_size == "auto" and node.path in item_s:
            found = choose_batch_size(node.max_items, at_once=1, item_s=item_s[node.path])
            yield f"Batches of {node.id}: at most {found.items} items, since {found.reason}; fewer if that is faster"


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that is not exceeded by at least `share` of the values (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, min(len(ordered) - 1, -int(-share * len(ordered) // 1) - 1))]


def _step_estimate(path: str, id: str, rows: Sequence[Mapping[str, Any]], runs: int) -> StepEstimate:
    seconds = [row["seconds"] for row in rows]
    units = {unit for row in rows for unit in row["cost"]}
    costs = {unit: [row["cost"].get(unit, 0.0) for row in rows] for unit in sorted(units)}
    return StepEstimate(
        path,
        id,
        len(rows) / runs,
        percentile(seconds, 0.5),
        percentile(seconds, 0.9),
        {unit: percentile(found, 0.5) for unit, found in costs.items()},
        {unit: percentile(found, 0.9) for unit, found in costs.items()},
    )


def _total_cost(steps: Iterable[StepEstimate], which: str) -> dict[str, float]:
    return add_up({unit: amount * step.calls for unit, amount in getattr(step, which).items()} for step in steps)


def _leaves(node: Node, prefix: str) -> Iterable[tuple[StepPath, Leaf | FanIn]]:
    if isinstance(node, (Leaf, FanIn)):
        yield StepPath(prefix + node.path), node
    inner = f"{prefix}{node.path}/" if isinstance(node, Sub) else prefix
    for child in node_children(node):
        yield from _leaves(child, inner)


def _limits(plan: Plan) -> dict[str, int]:
    """The concurrency limits of the resources by name, and that of the whole run under the empty name."""
    found = {name: settled.resource.concurrency for name, settled in plan.all_resources.items()}
    return {name: limit for name, limit in {**found, "": plan.limit.value}.items() if limit is not None}


@dataclass(frozen=True)
class _NodeTime:
    seconds: float = 0.0
    in_order_s: float = 0.0
    critical: tuple[str, ...] = ()
    used: Mapping[str, float] = field(default_factory=dict[str, float])
    """The seconds of work by the limit of calls at once."""

    def within(self, limits: Mapping[str, int]) -> "_NodeTime":
        """The same time, raised to the minimum that the limits allow."""
        return replace(self, seconds=max([self.seconds, *(self.used[name] / limits[name] for name in self.used)]))


class _PlanTimer:
    """Computes the time of a plan from the work of every step, within the limits of groups, loops and resources."""

    def __init__(
        self, seconds: Mapping[StepPath, float], steps: Mapping[StepPath, StepEstimate], limits: Mapping[str, int]
    ) -> None:
        self._seconds, self._steps, self._at_once = seconds, steps, limits
        self.groups: list[GroupEstimate] = []
        self._times: float = 1.0
        """How many times the enclosing loops run the node."""

    def node(self, node: Node, prefix: str) -> _NodeTime:
        match node:
            case Leaf() | FanIn():
                seconds = self._seconds.get(StepPath(prefix + node.path), 0.0)
                uses = ("", *node.uses) if isinstance(node, Leaf) else ()
                used = {name: seconds for name in uses if name in self._at_once}
                return _NodeTime(seconds, seconds, (node.id,) if seconds else (), used)
            case Chain():
                return _in_order([self.node(child, prefix) for child in node.children])
            case Choice():
                spans = [self.node(child, prefix) for _, child in node.cases]
                return max(spans, key=lambda span: span.seconds, default=_NodeTime())
            case Sub():
                return self.node(node.plan.root, f"{prefix}{node.path}/")
            case Group():
                return self._group(node, [self.node(child, prefix) for child in node.children])
            case Loop():
                return self._loop(node, prefix)
            case _:
                assert_never(node)

    def _group(self, group: Group, spans: Sequence[_NodeTime]) -> _NodeTime:
        ends: list[float] = []
        chains: list[tuple[str, ...]] = []
        busy: list[float] = []
        for index, span in enumerate(spans):
            waits = group.after[index] if group.after else ()
            before = max(waits, key=lambda earlier: ends[earlier], default=None)
            ready = ends[before] if before is not None else 0.0
            if group.limit.value is not None and len(busy) >= group.limit.value:
                ready = max(ready, heapq.heappop(busy))
            ends.append(ready + span.seconds)
            heapq.heappush(busy, ends[-1])
            chains.append((*(chains[before] if before is not None else ()), *span.critical))
        last = max(range(len(spans)), key=lambda index: ends[index], default=None)
        total = _NodeTime(
            ends[last] if last is not None else 0.0,
            sum(s.in_order_s for s in spans),
            chains[last] if last is not None else (),
            add_up(span.used for span in spans),
        ).within(self._at_once)
        short = tuple(
            child.label
            for child, span in zip(group.children, spans, strict=True)
            if span.critical and span.seconds < WORTH_IT_S
        )
        if total.critical:
            self.groups.append(GroupEstimate(group.path, group.id, total.seconds, sum(s.seconds for s in spans), short))
        return total

    def _loop(self, loop: Loop, prefix: str) -> _NodeTime:
        inside = [step.calls for path, step in self._steps.items() if path.inside(prefix + loop.path)]
        items, outer = max(inside, default=0.0) / self._times, self._times
        self._times = max(1.0, outer * items)
        body = self.node(loop.body, prefix)
        self._times = outer
        at_once = min(items, loop.limit.value or items) or 1.0
        used = {name: seconds * items for name, seconds in body.used.items()}
        total = _NodeTime(body.seconds * items / at_once, body.in_order_s * items, body.critical, used)
        total = total.within(self._at_once)
        if total.critical:
            short = (loop.label,) if body.seconds < WORTH_IT_S else ()
            self.groups.append(GroupEstimate(loop.path, loop.id, total.seconds, body.seconds * items, short))
        return total


def _in_order(spans: Sequence[_NodeTime]) -> _NodeTime:
    return _NodeTime(
        sum(span.seconds for span in spans),
        sum(span.in_order_s for span in spans),
        tuple(id for span in spans for id in span.critical),
        add_up(span.used for span in spans),
    )
