"""One consistent outcome for everything declared, and a run status that agrees with the outcomes, on random trees."""

import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from flows.author import Call, Outcome, Registry, handler
from flows.engine import engine as real_engine
from flows.engine import loops, run_state
from flows.model import MinRatio, MinSuccess, Policy, StepPath, Tolerance
from flows.planning import Group, Leaf, Loop, make_plan
from flows.state import Context, fingerprint
from flows.testkit import Faults, Schedule
from flows.testkit.shape import NodeInstance, node_instances
from flows.testkit.trace import RunTrace, trace_run
from tests.support.profiles import scaled
from tests.support.random_trees import CONDITIONS, random_tree

START = {"seed": "s", "items": ["a", "b", "c"]}
FAULTS = Faults(transient=0.2, fatal=0.12, hang=0.12, cancel=0.25, crash=0)
STATUSES = {"succeeded", "failed", "timed_out", "cancelled", "abandoned", "skipped"}
KINDS = {"step": "Leaf FanIn", "group": "Group Loop Choice Sub", "sequence": "Chain", "item": ""}


class Bench:
    """Handlers that can run random trees, cost one call each time they work, and set an item aside now and then."""

    def __init__(self) -> None:
        self.registry, self.worked = Registry(), Counter[str]()

        @handler(registry=self.registry, writes="out")
        async def mix(first: Any = None, second: Any = None, *, salt: str = "", call: Call) -> str:
            return self._work([first, second, salt], call)

        @handler(registry=self.registry, writes={"bag": "append"}, effects=())
        async def drop(first: Any = None, *, salt: str = "", call: Call) -> list[str]:
            return [self._work([first, salt], call)]

    def _work(self, read: list[Any], call: Call) -> str:
        self.worked[call.step_id] += 1
        call.report_cost(calls=1)
        mark = fingerprint(read)[:12]
        if mark.startswith("0"):
            call.fail_item(mark, "unreadable")
        return mark

    def run(self, tree: int, schedule: int) -> RunTrace:
        """Run a random tree under a schedule with faults; conditions of its steps may be ones that are never true."""
        pipeline, catalog = random_tree(random.Random(tree), conditions=(*CONDITIONS, "no_such_field > 1"))
        plan = make_plan(pipeline, registry=self.registry, catalog=catalog, given=START)
        chosen = Schedule(schedule)
        return trace_run(plan, Context(START), chosen, faults=FAULTS, stop=FAULTS.of_run(chosen, 60))


def wrong(record: RunTrace, worked: Counter[str]) -> list[str]:
    """Everything that is wrong with the outcomes of a run by the rules of docs/failure.md, independent of the engine."""
    assert not record.stuck, record.stuck
    assert record.broken is None, record.broken
    root = node_instances(record.plan.root, record.sizes)
    outcomes = {outcome.path: outcome for outcome in record.outcomes}
    entered = Counter(event.path for event in record.events if event.kind == "entered")
    found = list(_not_one_each(record, root, outcomes))
    for instance in root.walk():
        outcome = outcomes.get(instance.path) if instance.declared else None
        if outcome is not None:
            found += [f"{instance.path}: {text} in {outcome}" for text in _odd(outcome, instance, entered, worked)]
    if not found:
        found += _disagreeing(record, root, outcomes)
    return found


def _not_one_each(record: RunTrace, root: NodeInstance, outcomes: dict[StepPath, Outcome]) -> Iterator[str]:
    declared: set[StepPath] = set()

    def declare(instance: NodeInstance) -> None:
        if instance.declared:
            declared.add(instance.path)
        if instance.item and instance.path in outcomes and outcomes[instance.path].started is None:
            return  # an item that never started also counts for its inner steps
        for child in instance.children:
            declare(child)

    declare(root)
    reported = Counter(outcome.path for outcome in record.outcomes)
    if reported != Counter(declared):
        yield f"declared, not reported: {declared - set(reported)}; else: {reported - Counter(declared)}"
    listed = record.result.outcomes if record.result is not None else ()
    if record.result is not None and [one.path for one in listed] != sorted(reported, key=lambda path: path.sort_key):
        yield "the result does not list them in declared order"


def _odd(outcome: Outcome, instance: NodeInstance, entered: Counter[StepPath], worked: Counter[str]) -> Iterator[str]:
    """Fields that contradict each other or the trace."""
    status, started = outcome.status, outcome.started is not None
    if status not in STATUSES or (
        type(instance.node).__name__ not in KINDS[outcome.kind].split() and not instance.item
    ):
        yield "unknown status or kind"
    if instance.item != (outcome.kind == "item"):
        yield "an item is told by its kind"
    if outcome.seconds < 0 or (outcome.seconds and not started):
        yield "seconds"
    if (outcome.attempts >= 1) != started:
        yield "attempts without a start, or the other way round"
    if started != any(inner.path in entered for inner in instance.walk()) and isinstance(instance.node, Leaf):
        yield "a start that did not happen, or one that is not told"
    if not started and any(inner.path in entered for inner in instance.walk()):
        yield "something in it was called"
    if isinstance(instance.node, Leaf) and not instance.item and outcome.attempts != entered[instance.path]:
        yield f"{entered[instance.path]} attempts were made"
    by_itself = status in ("failed", "timed_out", "abandoned") and (started or status == "failed" or not outcome.reason)
    if (outcome.error is not None) != by_itself:
        yield "an error where it did not fail by itself, or none where it did"
    if status in ("skipped", "cancelled", "abandoned") and not outcome.reason and outcome.error is None:
        yield "no reason"
    if status == "skipped" and started:
        yield "skipped after it started"
    if status == "succeeded" and not started:
        yield "succeeded without a start"
    cost = {"calls": worked[outcome.id]} if outcome.is_leaf and worked[outcome.id] else {}
    if dict(outcome.cost) != cost:
        yield f"costs {cost}"


def _disagreeing(record: RunTrace, root: NodeInstance, outcomes: dict[StepPath, Outcome]) -> Iterator[str]:
    """Outcomes that disagree with those inside them, and a run that disagrees with its outcomes."""
    lost: list[str] = []
    decisive: list[StepPath] = []

    def fate(instance: NodeInstance) -> str:
        outcome = outcomes.get(instance.path) if instance.declared else None
        if outcome is not None and (outcome.started is None or not instance.children or outcome.status == "cancelled"):
            return "stopped" if outcome.status == "cancelled" else _told(outcome)
        fates = [fate(child) for child in instance.children]
        made = _made(instance, fates)
        if outcome is not None and made == "fine" and _told(outcome) == "failed" and _by_its_own_fault(outcome, fates):
            made = "failed"
        if outcome is not None and made != _told(outcome):
            disagreements.append(f"{instance.path} is {outcome.status}, but what is in it makes it {made} ({fates})")
        if made == "fine" and _race(instance):
            lost.extend(child.path for child, one in zip(instance.children, fates, strict=True) if one != "fine")
        if made == "fine" and "failed" in fates and _fails_the_run(instance):
            decisive.append(instance.path)
        return made

    disagreements: list[str] = []
    whole = fate(root)
    yield from disagreements
    if record.result is not None:
        flawed = any(
            one.error is not None or one.failures or one.status in ("failed", "timed_out")
            for one in record.outcomes
            if not any(one.path.inside(path) for path in lost)
        )
        fails = any(not any(path.inside(loser) for loser in lost) for path in decisive)
        status = "failed" if whole != "fine" or fails else "partial" if flawed else "succeeded"
        if record.result.status != status:
            yield f"the run says {record.result.status}, but it is {status}"


def _told(outcome: Outcome) -> str:
    return {"succeeded": "fine", "skipped": "skipped"}.get(outcome.status, "failed")


def _race(instance: NodeInstance) -> bool:
    node = instance.node
    return (
        isinstance(node, Group)
        and not instance.item
        and node.merge is not None
        and node.merge.strategy == "fastest_success"
    )


def _fails_the_run(instance: NodeInstance) -> bool:
    """Whether a failure inside makes the run fail even if the run continues."""
    match instance.node:
        case Group(policy=policy) if not instance.item and not _race(instance) and not instance.node.derived:
            return policy.run_when_failed == "failed"
        case Loop(tolerated=Tolerance(run_when_failed="failed")):
            return not instance.item
        case _:
            return False


def _by_its_own_fault(outcome: Outcome, fates: list[str]) -> bool:
    """Whether it failed by its condition, list, parameters or merge; a group that failed by its branches did not."""
    return outcome.error is not None and (outcome.error.kind != "PipelineException" or set(fates) <= {"skipped"})


def _made(instance: NodeInstance, fates: list[str]) -> str:
    """The end of a node, given the ends of its parts: "fine", "failed" or "stopped"."""
    node = instance.node
    if isinstance(node, Loop) and not instance.item:
        return "failed" if fates.count("failed") > _tolerated(node, len(fates)) else "fine"
    if isinstance(node, Group) and not instance.item and not node.derived:
        counted = [one for one in fates if one != "skipped"]
        needed = _needed("any" if _race(instance) else node.policy.success_when, len(counted))
        return "fine" if counted.count("fine") >= needed else "failed"
    return next((one for one in fates if one in ("failed", "stopped")), "fine")


def _tolerated(loop: Loop, items: int) -> float:
    tolerated = loop.tolerated or Tolerance(count=0)
    return tolerated.ratio * items if tolerated.ratio is not None else tolerated.count or 0


def _needed(rule: Any, counted: int) -> float:
    match rule:
        case "all":
            return counted
        case "any":
            return min(1, counted)
        case "always":
            return 0
        case MinSuccess(min=least):
            return least
        case MinRatio(ratio=ratio):
            return ratio * counted
        case _:
            raise AssertionError(rule)


@given(st.integers(0, 2**32), st.integers(0, 2**32))
@settings(max_examples=scaled(60))
@example(5935563, 5935563)  # a call ignores its cancellation, and would hang afterwards
def test_outcomes_and_the_run_say_what_happened(tree: int, schedule: int) -> None:
    bench = Bench()
    record = bench.run(tree, schedule)
    assert wrong(record, bench.worked) == []
    if record.result is not None:
        assert record.result.cost.get("calls", 0) == bench.worked.total()


def test_the_trees_fail_in_every_way() -> None:
    seen, ends = Counter[str](), Counter[str]()
    for number in range(60):
        bench = Bench()
        record = bench.run(number, number)
        assert wrong(record, bench.worked) == []
        ends[record.result.status if record.result else "cancelled"] += 1
        for outcome in record.outcomes:
            started = "" if outcome.started is not None else "never started, "
            seen[f"{started}{outcome.kind} {outcome.status}"] += 1
    assert set(ends) == {"succeeded", "partial", "failed", "cancelled"}
    ways = {"step failed", "step timed_out", "step cancelled", "item failed", "item timed_out", "group timed_out"}
    ways |= {
        f"never started, {one}"
        for one in ("step failed", "step skipped", "step cancelled", "step timed_out", "item cancelled")
    }
    assert ways <= set(seen), ways - set(seen)


def _said(**changes: Any) -> Callable[[pytest.MonkeyPatch], None]:
    """An engine that applies functions to its outcomes before they are recorded."""

    def break_it(patch: pytest.MonkeyPatch) -> None:
        record = run_state.RunState.record

        def changed(self: Any, outcome: Outcome) -> None:
            record(self, replace(outcome, **{name: change(outcome) for name, change in changes.items()}))

        patch.setattr(run_state.RunState, "record", changed)

    return break_it


def _forgets(patch: pytest.MonkeyPatch) -> None:
    record = run_state.RunState.record
    patch.setattr(run_state.RunState, "record", lambda self, one: None if one.kind == "item" else record(self, one))


BROKEN: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "a required failure ends succeeded": lambda patch: patch.setattr(
        real_engine, "_run_status", lambda *_: "succeeded"
    ),
    "a required failure ends partial": lambda patch: patch.setattr(
        real_engine,
        "_run_status",
        lambda result, state, told=real_engine._run_status: told(result, state).replace("failed", "partial"),
    ),
    "groups always succeed": lambda patch: patch.setattr(Policy, "satisfied", lambda *_: True),
    "loops tolerate everything": lambda patch: patch.setattr(loops.Tolerance, "exceeded", lambda *_: False),
    "items are forgotten": _forgets,
    "errors are lost": _said(error=lambda one: None),
    "reasons are lost": _said(reason=lambda one: ""),
    "all have started": _said(started=lambda one: one.started or 1.0),
    "one attempt each": _said(attempts=lambda one: min(1, one.attempts)),
    "time goes back": _said(seconds=lambda one: -one.seconds),
    "what failed costs nothing": _said(cost=lambda one: {} if one.error else one.cost),
    "timeouts read as failures": _said(status=lambda one: "skipped" if one.status == "timed_out" else one.status),
}


@pytest.mark.parametrize("how", BROKEN)
def test_an_engine_that_is_broken_is_found_out(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    BROKEN[how](monkeypatch)
    for number in range(60):
        bench = Bench()
        if wrong(bench.run(number, number), bench.worked):
            return
    pytest.fail("nobody noticed")
