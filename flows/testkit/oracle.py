"""What every outcome must be, told from the handlers' own ends and the declared policies; knows nothing of the engine.

It goes through the declared tree from the leaves up. A leaf's outcome must agree with how its last attempt ended,
everything else with the outcomes directly inside it, so that the whole agrees when every place does.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from flows.author import RACES, Outcome, RunStatus, Status
from flows.model import Policy, StepPath, Tolerance
from flows.planning import Chain, Choice, FanIn, Group, Leaf, Loop, Sub, all_before
from flows.testkit.recorder import ENDS, Kind, Record
from flows.testkit.shape import Place

FINE = ("succeeded", "skipped")
_OUT_OF_TIME = ("timed_out", "abandoned", "cancelled")


@dataclass
class Judgement:
    """What the tree of outcomes should say, and where it says something else."""

    record: Record
    outcomes: Mapping[StepPath, Outcome]
    ends: dict[StepPath, Kind] = field(default_factory=dict[StepPath, Kind])
    """How the last attempt at each leaf ended."""
    complaints: list[str] = field(default_factory=list[str])

    def complain(self, place: Place, text: str) -> None:
        self.complaints.append(f"{place.path or 'the run'} ({place.node.label}): {text}")


def judge(record: Record, root: Place) -> list[str]:
    """Every disagreement between the outcomes of a run that ended and what they must be."""
    judgement = Judgement(record, {outcome.path: outcome for outcome in record.outcomes})
    for event in record.events:
        if event.kind in ENDS:
            judgement.ends[event.path] = event.kind
    status = _status(judgement, root)
    result = record.result
    if result is not None:
        counted = [one for one in record.outcomes if not any(one.path.inside(path) for path in _lost(judgement, root))]
        expected = "failed" if result.stopped else _run_status(status, counted)
        if result.status != expected:
            judgement.complain(root, f"the run says {result.status}, but it {_means(expected)}")
    return judgement.complaints


def _run_status(root: Status, outcomes: list[Outcome]) -> RunStatus:
    if root not in FINE:
        return "failed"
    return "partial" if any(one.error is not None or one.failures for one in outcomes) else "succeeded"


def _lost(judgement: Judgement, root: Place) -> list[str]:
    """The branches that did not succeed in races that others won."""
    silent = Judgement(judgement.record, judgement.outcomes, judgement.ends)
    return [
        branch.path
        for place in root.walk()
        if isinstance(place.node, Group) and place.node.merge is not None and place.node.merge.strategy in RACES
        if (around := judgement.outcomes.get(place.path)) is not None and around.status == "succeeded"
        for branch in place.children
        if _status(silent, branch) not in FINE
    ]


def _means(status: RunStatus) -> str:
    return {
        "failed": "failed: a required step did not succeed",
        "partial": "succeeded in part: some step had an error",
        "succeeded": "succeeded: nothing failed",
    }[status]


def _status(judgement: Judgement, place: Place) -> Status:
    """The status of a place: what its outcome says, or what follows from inside where it has no outcome of its own."""
    outcome = judgement.outcomes.get(place.path) if place.declared else None
    inside: list[Status] = [_status(judgement, child) for child in place.children]
    if outcome is None and place.declared:
        return "succeeded"  # its absence is reported as such
    if outcome is not None and outcome.started is None:
        _check_never_started(judgement, place, outcome)
        return outcome.status
    allowed = list(_allowed(judgement, place, inside, outcome))
    if outcome is None:
        return allowed[0]
    if place.children and _may_be_stopped(judgement, place):
        allowed.append("cancelled")
    if outcome.status not in allowed:
        told = ", ".join(inside) if place.children else judgement.ends.get(place.path, "never called")
        judgement.complain(place, f"is {outcome.status}; it can only be {' or '.join(dict.fromkeys(allowed))} ({told})")
    return outcome.status


def _check_never_started(judgement: Judgement, place: Place, outcome: Outcome) -> None:
    if outcome.status in ("succeeded", "abandoned"):
        judgement.complain(place, f"is {outcome.status}, but it never started")
    if outcome.status == "failed" and outcome.error is None and not outcome.reason:
        judgement.complain(place, "failed without an error")
    for inner in place.walk():
        if inner is not place and inner.path in judgement.ends:
            judgement.complain(inner, f"was called, though {place.path} around it never started")


def _allowed(judgement: Judgement, place: Place, inside: list[Status], outcome: Outcome | None) -> Iterator[Status]:
    """Every status that a place which started may have, the likeliest first; all but leaves may be stopped, too."""
    if place.item:
        yield inside[0]
        return
    match place.node:
        case Leaf():
            yield from _of_leaf(judgement, place, outcome)
        case Chain():
            yield _of_chain(judgement, place, inside)
        case Group(derived=True):
            failing: list[Status] = [status for status in inside if status not in FINE]
            failing.sort(key=lambda status: status == "cancelled")
            fine: Status = "succeeded"
            yield failing[0] if failing else fine
        case Group():
            yield from _of_group(judgement, place, place.node, inside, outcome)
        case Loop():
            yield from _of_loop(judgement, place, place.node, inside)
        case Choice():
            chosen: list[Status] = [
                status for case, status in zip(place.children, inside, strict=True) if not _all_skipped(judgement, case)
            ]
            if len(chosen) > 1:
                judgement.complain(place, f"{len(chosen)} cases of one switch were chosen")
            yield chosen[0] if chosen else "succeeded"
            if not chosen and outcome is not None and outcome.reason:
                yield "failed"
        case Sub():
            yield inside[0]
            if outcome is not None and outcome.reason and all(status == "skipped" for status in inside):
                yield "failed"
        case FanIn():
            yield "succeeded"
            if outcome is not None and outcome.error is not None:
                yield "failed"


def _all_skipped(judgement: Judgement, place: Place) -> bool:
    inside = (judgement.outcomes.get(inner.path) for inner in place.walk() if inner.declared)
    return all(outcome is not None and outcome.status == "skipped" for outcome in inside)


def _of_leaf(judgement: Judgement, place: Place, outcome: Outcome | None) -> Iterator[Status]:
    end = judgement.ends.get(place.path)
    stopped = _may_be_stopped(judgement, place)
    if end == "returned":
        yield "succeeded"
        if outcome is not None and outcome.error is not None:
            yield "failed"  # its result cannot be kept
    elif end == "failed":
        yield "failed"
    elif end == "raised":
        yield from ("failed", "timed_out")
    elif end == "stopped":
        yield from ("timed_out", "abandoned") if _bounded(judgement, place) else ()
    elif outcome is not None and outcome.error is not None:
        yield "failed"  # its inputs or options do not fit
    if stopped:
        yield "cancelled"


def _of_chain(judgement: Judgement, place: Place, inside: list[Status]) -> Status:
    first = next((i for i, status in enumerate(inside) if status not in FINE), None)
    if first is None:
        return "succeeded"
    for later in place.children[first + 1 :]:
        started = next((inner for inner in later.walk() if inner.path in judgement.ends), None)
        if started is not None:
            judgement.complain(started, f"was called after {place.children[first].path} ended {inside[first]}")
    return inside[first]


def _of_group(
    judgement: Judgement, place: Place, group: Group, inside: list[Status], outcome: Outcome | None
) -> Iterator[Status]:
    race = group.merge is not None and group.merge.strategy in RACES
    policy = Policy(success_when="any") if race else group.policy
    counted = [status for status in inside if status != "skipped"]
    _check_branches(judgement, place, group, inside, race)
    if policy.satisfied(counted.count("succeeded"), len(counted)):
        yield "succeeded"
        if outcome is not None and outcome.reason:
            yield "failed"  # what it brought cannot be merged; that is looked at elsewhere
    else:
        yield "failed"
        failing = [status for status in inside if status not in FINE]
        if all(status in _OUT_OF_TIME for status in failing) and _bounded(judgement, place):
            yield "timed_out"


def _check_branches(judgement: Judgement, place: Place, group: Group, inside: list[Status], race: bool) -> None:
    own = {status for status in inside if status not in (*FINE, "cancelled")}
    stops = "succeeded" in inside if race else group.policy.on_branch_failure != "continue" and bool(own)
    for branch, status in zip(place.children, inside, strict=True):
        if status == "cancelled" and not stops and not _may_be_stopped(judgement, place):
            judgement.complain(branch, "was cancelled, but nothing around it stops its branches")
        node = branch.node
        before = all_before(group.after, branch.position)
        waits = any(inside[earlier] not in FINE for earlier in before)
        if status == "succeeded" and waits:
            judgement.complain(branch, "succeeded, though what it depends on did not")
        excused = waits or not node.enabled or node.when is not None or group.split is not None
        if status == "skipped" and not excused:
            judgement.complain(branch, "was skipped without a reason")


def _of_loop(judgement: Judgement, place: Place, loop: Loop, inside: list[Status]) -> Iterator[Status]:
    if place.path not in judgement.record.sizes:
        yield "failed"  # what it goes over is no list, or too long
        return
    failed = sum(1 for status in inside if status not in (*FINE, "cancelled"))
    exceeded = (loop.tolerated or Tolerance()).exceeded(failed, len(inside))
    if not exceeded and "cancelled" in inside and not _may_be_stopped(judgement, place):
        judgement.complain(place, "items were cancelled, though no more failed than may")
    yield "failed" if exceeded else "succeeded"
    failing = [status for status in inside if status not in FINE]
    if exceeded and all(status in _OUT_OF_TIME for status in failing) and _bounded(judgement, place):
        yield "timed_out"
    outcome = judgement.outcomes.get(place.path)
    if not exceeded and outcome is not None and outcome.reason:
        yield "failed"  # what the items brought cannot be merged; that is looked at elsewhere


def _may_be_stopped(judgement: Judgement, place: Place) -> bool:
    """Whether something around a place could have cancelled it: the run's end, a policy, or a race."""
    result = judgement.record.result
    if judgement.record.stopped == "cancel" or (result is not None and result.stopped):  # the latter by its budget
        return True
    for outer, _ in place.above:
        node = outer.node
        if isinstance(node, Group) and not outer.item:
            race = node.merge is not None and node.merge.strategy in RACES
            if race or node.policy.on_branch_failure == "cancel":
                return True
    return False


def _bounded(judgement: Judgement, place: Place) -> bool:
    """Whether a timeout applies to a place."""
    node = place.node
    if isinstance(node, Leaf) and node.retry.attempt_timeout_s is not None:
        return True
    if judgement.record.plan.pipeline.timeout_s is not None or node.timeout_s is not None:
        return True
    return any(_own_timeout(outer) for outer, _ in place.above)


def _own_timeout(place: Place) -> bool:
    return place.node.timeout_s is not None or (
        isinstance(place.node, Sub) and place.node.plan.pipeline.timeout_s is not None
    )
