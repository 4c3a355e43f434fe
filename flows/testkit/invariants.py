"""The promises that hold in every run: one outcome for each step, no limit exceeded, no start after a stop."""

from collections import Counter
from collections.abc import Iterator

from flows.author import RACES, Status
from flows.model import StepPath
from flows.planning import Group, Leaf, Loop, Sub
from flows.testkit.evidence import FINE
from flows.testkit.oracle import judge
from flows.testkit.shape import NodeInstance, node_instances
from flows.testkit.trace import ENDS, RunTrace
from flows.testkit.values import wrong_values

_REAL_SLACK_S = 0.5
"""How long after a stop a step may still start if time is real: the stop takes a few turns of a busy loop."""


def broken_promises(trace: RunTrace) -> list[str]:
    """The promises that a run broke, in words."""
    if trace.broken is not None:
        return [f"the engine raised {type(trace.broken).__name__}: {trace.broken}"]
    root = node_instances(trace.plan.root, trace.sizes)
    instances = {instance.path: instance for instance in root.walk() if instance.declared}
    if trace.stuck:
        open_ones = sorted(_open_paths(trace, instances))
        return [f"the run waits for ever: {trace.stuck}; without an outcome are {', '.join(open_ones) or 'none'}"]
    found = [*_windows(trace, instances), *_check_order(trace)]
    if trace.stopped == "crash":
        return found
    found += _outcomes(trace, instances)
    found += judge(trace, root)
    found += wrong_values(trace, root)
    found += _refused_merges(trace, instances)
    found += _after_stops(trace, instances)
    return found


def _open_paths(trace: RunTrace, instances: dict[StepPath, NodeInstance]) -> set[StepPath]:
    return set(instances) - {outcome.path for outcome in trace.outcomes}


def _outcomes(trace: RunTrace, instances: dict[StepPath, NodeInstance]) -> Iterator[str]:
    """Check that everything declared has exactly one outcome, and nothing else has one."""
    reported = Counter(outcome.path for outcome in trace.outcomes)
    # The outcome of an item that never started also stands for the steps inside it.
    idle = {outcome.path for outcome in trace.outcomes if outcome.kind == "item" and outcome.started is None}
    for path in sorted(set(instances) - set(reported)):
        instance = instances[path]
        if not any(outer.item and outer.path in idle for outer, _ in instance.above):
            yield f"{path} ({instance.node.label}): has no outcome"
    for path, times in sorted(reported.items()):
        if path not in instances:
            yield f"{path}: has an outcome, but nothing of that path is declared"
        elif times > 1:
            yield f"{path} ({instances[path].node.label}): has {times} outcomes"
    if trace.result is not None:
        if sorted(outcome.path for outcome in trace.result.outcomes) != sorted(reported):
            yield "the result does not list the outcomes that were reported"
    elif trace.stopped != "cancel":
        yield "the run was cancelled, but no caller cancelled it"


def _check_order(trace: RunTrace) -> Iterator[str]:
    """Check that a step starts once, before its handler is called, and that nothing follows its outcome."""
    started: set[StepPath] = set()
    finished: set[StepPath] = set()
    over: dict[StepPath, str] = {}
    for event in trace.events:
        if event.path in finished:
            yield f"{event.path}: {event.kind} after its outcome"
        if event.kind == "started":
            if event.path in started:
                yield f"{event.path}: started twice"
            started.add(event.path)
        elif event.kind == "entered" and event.path not in started:
            yield f"{event.path}: was called, but never started"
        elif event.kind == "entered" and event.path in over:
            yield f"{event.path}: was called again after it {over[event.path]}"
        elif event.kind in ("returned", "failed"):
            over[event.path] = "had failed for good" if event.kind == "failed" else "had returned"
        elif event.kind == "finished":
            finished.add(event.path)


def _windows(trace: RunTrace, instances: dict[StepPath, NodeInstance]) -> Iterator[str]:
    """Check the limits: branches of a group, items of a loop, calls of the run, calls of a resource."""
    limits: dict[str, int] = {}
    running: dict[str, Counter[object]] = {}
    reported: set[str] = set()
    held: dict[StepPath, list[tuple[str, object]]] = {}
    for event in trace.events:
        if event.kind == "entered":
            if event.path not in instances:
                continue
            if event.path not in held:
                held[event.path] = list(_windows_of(trace, instances[event.path], limits))
            for name, member in held[event.path]:
                inside = running.setdefault(name, Counter())
                inside[member] += 1
                if len(inside) > limits[name] and name not in reported:
                    reported.add(name)
                    yield f"{name}: {len(inside)} at once, more than its limit of {limits[name]}"
        elif event.kind in ENDS:
            for name, member in held.get(event.path, ()):
                inside = running[name]
                inside[member] -= 1
                if not inside[member]:
                    del inside[member]


def _windows_of(trace: RunTrace, instance: NodeInstance, limits: dict[str, int]) -> Iterator[tuple[str, object]]:
    """The windows that a call runs in, each with the branch, item or call that counts in it."""
    if trace.plan.limit.value is not None:
        limits["calls of the run"] = trace.plan.limit.value
        yield "calls of the run", instance.path
    resources = trace.plan.all_resources
    for outer, index in instance.above:
        node = outer.node
        if isinstance(node, Sub):
            if node.plan.limit.value is not None:
                limits[f"{outer.path} (calls of {node.label})"] = node.plan.limit.value
                yield f"{outer.path} (calls of {node.label})", instance.path
        elif isinstance(node, (Group, Loop)) and not outer.item and node.limit.value is not None:
            name = f"{outer.path or 'the steps'} ({node.label})"
            limits[name] = node.limit.value
            yield name, index
    if isinstance(instance.node, Leaf):
        for name in instance.node.uses:
            concurrency = resources[name].resource.concurrency
            if concurrency is not None:
                limits[f"resource {name}"] = concurrency
                yield f"resource {name}", instance.path


def _refused_merges(trace: RunTrace, instances: dict[StepPath, NodeInstance]) -> Iterator[str]:
    """Report merge conflicts between branches; the pipeline must declare a reducer for them."""
    for outcome in trace.outcomes:
        instance = instances.get(outcome.path)
        if outcome.status == "failed" and instance is not None and isinstance(instance.node, (Group, Loop)):
            message = outcome.error.message if outcome.error is not None else outcome.reason
            if "both changed" in message:
                yield f"{outcome.path} ({instance.node.label}): {message}"


def _after_stops(trace: RunTrace, instances: dict[StepPath, NodeInstance]) -> Iterator[str]:
    """Check that no step starts after a stop: a cancelled run, or a failed branch whose policy stops the others."""
    ended: dict[str, Status] = {outcome.path: outcome.status for outcome in trace.outcomes}
    stops: list[tuple[float, str, set[StepPath], str]] = []
    if trace.stopped == "cancel":
        stops.append((trace.stopped_at, "the run was cancelled", set(instances), ""))
    at = {event.path: event.at for event in trace.events if event.kind == "finished"}
    begun = {event.path: event.at for event in reversed(trace.events) if event.kind == "started"}
    for instance in instances.values():
        node = instance.node
        if instance.item or not isinstance(node, Group) or node.derived:
            continue
        race = node.merge is not None and node.merge.strategy in RACES
        if node.policy.on_branch_failure == "continue" and not race:
            continue
        stopping = [
            child for child in instance.children if child.path in at and _stops_siblings(ended[child.path], race)
        ]
        if not stopping:
            continue
        first = min(stopping, key=lambda child: at[child.path])
        for child in instance.children:
            inside = {inner.path for inner in child.walk()}
            if child is first:
                continue
            running = any(begun.get(path, float("inf")) <= at[first.path] for path in inside)
            if race or node.policy.on_branch_failure == "cancel" or not running:
                stops.append((at[first.path], f"{first.path} {ended[first.path]}", inside, instance.path))
    slack = _REAL_SLACK_S if trace.real_time else 0.0
    for moment, why, inside, around in stops:
        late = sorted(path for path in inside if path in begun and begun[path] > moment + slack)
        for path in late:
            yield f"{path}: started after {why}" + (f", which stops the branches of {around}" if around else "")


def _stops_siblings(status: Status, race: bool) -> bool:
    """Whether a branch with that status stops the others: it failed, or it won a race."""
    return status == "succeeded" if race else status not in (*FINE, "cancelled")
