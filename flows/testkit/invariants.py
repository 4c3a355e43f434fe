"""What must hold in every run whatever happened in it: one outcome each, no window exceeded, nothing after a stop."""

from collections import Counter
from collections.abc import Iterator

from flows.author import RACES, Status
from flows.model import StepPath
from flows.planning import Group, Leaf, Loop, Sub
from flows.testkit.oracle import FINE, judge
from flows.testkit.recorder import ENDS, Record
from flows.testkit.shape import Place, declared_places


def broken_promises(record: Record) -> list[str]:
    """Every promise that a run broke, in words; none for a run as it should be."""
    if record.broken is not None:
        return [f"the engine raised {type(record.broken).__name__}: {record.broken}"]
    root = declared_places(record.plan.root, record.sizes)
    places = {place.path: place for place in root.walk() if place.declared}
    if record.stuck:
        open_ones = sorted(_open_paths(record, places))
        return [f"the run waits for ever: {record.stuck}; without an outcome are {', '.join(open_ones) or 'none'}"]
    found = [*_windows(record, places), *_order(record)]
    if record.stopped == "crash":
        return found
    found += _outcomes(record, places)
    found += judge(record, root)
    found += _refused_merges(record, places)
    found += _after_stops(record, places)
    return found


def _open_paths(record: Record, places: dict[StepPath, Place]) -> set[StepPath]:
    return set(places) - {outcome.path for outcome in record.outcomes}


def _outcomes(record: Record, places: dict[StepPath, Place]) -> Iterator[str]:
    """Exactly one outcome for everything declared, and none for anything else."""
    reported = Counter(outcome.path for outcome in record.outcomes)
    # The outcome of an item that never started stands for the steps in it, too.
    idle = {outcome.path for outcome in record.outcomes if outcome.kind == "item" and outcome.started is None}
    for path in sorted(set(places) - set(reported)):
        place = places[path]
        if not any(outer.item and outer.path in idle for outer, _ in place.above):
            yield f"{path} ({place.node.label}): has no outcome"
    for path, times in sorted(reported.items()):
        if path not in places:
            yield f"{path}: has an outcome, but nothing of that path is declared"
        elif times > 1:
            yield f"{path} ({places[path].node.label}): has {times} outcomes"
    if record.result is not None:
        if sorted(outcome.path for outcome in record.result.outcomes) != sorted(reported):
            yield "the result does not list the outcomes that were reported"
    elif record.stopped != "cancel":
        yield "the run was cancelled, but nobody cancelled it"


def _order(record: Record) -> Iterator[str]:
    """A step starts once and before its handler is called; an outcome is the last of it."""
    started: set[StepPath] = set()
    finished: set[StepPath] = set()
    over: dict[StepPath, str] = {}
    for event in record.events:
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


def _windows(record: Record, places: dict[StepPath, Place]) -> Iterator[str]:
    """Never more at once than a limit allows: branches of a group, items of a loop, calls in all or of a resource."""
    limits: dict[str, int] = {}
    running: dict[str, Counter[object]] = {}
    reported: set[str] = set()
    held: dict[StepPath, list[tuple[str, object]]] = {}
    for event in record.events:
        if event.kind == "entered":
            if event.path not in places:
                continue
            if event.path not in held:
                held[event.path] = list(_windows_of(record, places[event.path], limits))
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


def _windows_of(record: Record, place: Place, limits: dict[str, int]) -> Iterator[tuple[str, object]]:
    """The windows that a call takes a place in, each with the one who takes it."""
    if record.plan.limit.value is not None:
        limits["calls of the run"] = record.plan.limit.value
        yield "calls of the run", place.path
    resources = record.plan.all_resources
    for outer, position in place.above:
        node = outer.node
        if isinstance(node, Sub):
            if node.plan.limit.value is not None:
                limits[f"{outer.path} (calls of {node.label})"] = node.plan.limit.value
                yield f"{outer.path} (calls of {node.label})", place.path
        elif isinstance(node, (Group, Loop)) and not outer.item and node.limit.value is not None:
            name = f"{outer.path or 'the steps'} ({node.label})"
            limits[name] = node.limit.value
            yield name, position
    if isinstance(place.node, Leaf):
        for name in place.node.uses:
            concurrency = resources[name].resource.concurrency
            if concurrency is not None:
                limits[f"resource {name}"] = concurrency
                yield f"resource {name}", place.path


def _refused_merges(record: Record, places: dict[StepPath, Place]) -> Iterator[str]:
    """Branches whose changes do not fit together: the pipeline must say how to combine them."""
    for outcome in record.outcomes:
        place = places.get(outcome.path)
        if outcome.status == "failed" and place is not None and isinstance(place.node, (Group, Loop)):
            said = outcome.error.message if outcome.error is not None else outcome.reason
            if "both changed" in said:
                yield f"{outcome.path} ({place.node.label}): {said}"


def _after_stops(record: Record, places: dict[StepPath, Place]) -> Iterator[str]:
    """Nothing starts after what stops it: a cancelled run, a branch that failed where the policy stops the others."""
    ended: dict[str, Status] = {outcome.path: outcome.status for outcome in record.outcomes}
    stops: list[tuple[float, str, set[StepPath], str]] = []
    if record.stopped == "cancel":
        stops.append((record.stopped_at, "the run was cancelled", set(places), ""))
    at = {event.path: event.at for event in record.events if event.kind == "finished"}
    begun = {event.path: event.at for event in reversed(record.events) if event.kind == "started"}
    for place in places.values():
        node = place.node
        if place.item or not isinstance(node, Group) or node.derived:
            continue
        race = node.merge is not None and node.merge.strategy in RACES
        if node.policy.on_branch_failure == "continue" and not race:
            continue
        stopping = [child for child in place.children if child.path in at and _stops(ended[child.path], race)]
        if not stopping:
            continue
        first = min(stopping, key=lambda child: at[child.path])
        for child in place.children:
            inside = {inner.path for inner in child.walk()}
            if child is first:
                continue
            running = any(begun.get(path, float("inf")) <= at[first.path] for path in inside)
            if race or node.policy.on_branch_failure == "cancel" or not running:
                stops.append((at[first.path], f"{first.path} {ended[first.path]}", inside, place.path))
    for moment, why, inside, around in stops:
        late = sorted(path for path in inside if path in begun and begun[path] > moment)
        for path in late:
            yield f"{path}: started after {why}" + (f", which stops the branches of {around}" if around else "")


def _stops(status: Status, race: bool) -> bool:
    """Whether a branch that ended so stops the others, where branches do: by failing, or by winning a race."""
    return status == "succeeded" if race else status not in (*FINE, "cancelled")
