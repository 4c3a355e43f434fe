"""Checks every outcome against the ends of the handlers and the declared policies, without any code of the engine.

It goes through the declared tree from the leaves upwards. The outcome of a leaf must agree with the end of its last
attempt, every other outcome with the outcomes directly inside it. If each of them agrees, the whole run does.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from flows.author import RACES, Outcome, RunStatus, Status
from flows.model import Policy, StepPath, Tolerance
from flows.planning import Chain, Choice, FanIn, Group, Leaf, Loop, Sub, all_before
from flows.testkit.shape import NodeInstance
from flows.testkit.trace import ENDS, RunTrace, TraceEventKind

FINE = ("succeeded", "skipped")
_OUT_OF_TIME = ("timed_out", "abandoned", "cancelled")


@dataclass
class Judgement:
    """The outcomes of a run, and the complaints about them."""

    trace: RunTrace
    outcomes: Mapping[StepPath, Outcome]
    ends: dict[StepPath, TraceEventKind] = field(default_factory=dict[StepPath, TraceEventKind])
    """The end of the last attempt at each leaf."""
    complaints: list[str] = field(default_factory=list[str])

    def complain(self, instance: NodeInstance, text: str) -> None:
        self.complaints.append(f"{instance.path or 'the run'} ({instance.node.label}): {text}")


def judge(trace: RunTrace, root: NodeInstance) -> list[str]:
    """Every outcome of a finished run that is not what it must be, in words."""
    judgement = Judgement(trace, {outcome.path: outcome for outcome in trace.outcomes})
    for event in trace.events:
        if event.kind in ENDS:
            judgement.ends[event.path] = event.kind
    status = _status(judgement, root)
    result = trace.result
    if result is not None:
        counted = [
            one for one in trace.outcomes if not any(one.path.inside(path) for path in _race_losers(judgement, root))
        ]
        expected = "failed" if result.stopped else _run_status(status, counted)
        if result.status != expected:
            judgement.complain(root, f"the run says {result.status}, but it {_status_meaning(expected)}")
    return judgement.complaints


def _run_status(root: Status, outcomes: list[Outcome]) -> RunStatus:
    if root not in FINE:
        return "failed"
    return "partial" if any(one.error is not None or one.failures for one in outcomes) else "succeeded"


def _race_losers(judgement: Judgement, root: NodeInstance) -> list[str]:
    """The branches that did not succeed in races that another branch won."""
    silent = Judgement(judgement.trace, judgement.outcomes, judgement.ends)
    return [
        branch.path
        for instance in root.walk()
        if isinstance(instance.node, Group)
        and instance.node.merge is not None
        and instance.node.merge.strategy in RACES
        if (around := judgement.outcomes.get(instance.path)) is not None and around.status == "succeeded"
        for branch in instance.children
        if _status(silent, branch) not in FINE
    ]


def _status_meaning(status: RunStatus) -> str:
    return {
        "failed": "failed: a required step did not succeed",
        "partial": "succeeded in part: some step had an error",
        "succeeded": "succeeded: nothing failed",
    }[status]


def _status(judgement: Judgement, instance: NodeInstance) -> Status:
    """The status in the outcome of an instance; without an outcome, the status that follows from its children."""
    outcome = judgement.outcomes.get(instance.path) if instance.declared else None
    inside: list[Status] = [_status(judgement, child) for child in instance.children]
    if outcome is None and instance.declared:
        return "succeeded"  # the missing outcome is reported elsewhere
    if outcome is not None and outcome.started is None:
        _check_never_started(judgement, instance, outcome)
        return outcome.status
    allowed = list(_allowed_statuses(judgement, instance, inside, outcome))
    if outcome is None:
        return allowed[0]
    if instance.children and _may_be_stopped(judgement, instance):
        allowed.append("cancelled")
    if outcome.status not in allowed:
        reason = ", ".join(inside) if instance.children else judgement.ends.get(instance.path, "never called")
        judgement.complain(
            instance, f"is {outcome.status}; it can only be {' or '.join(dict.fromkeys(allowed))} ({reason})"
        )
    return outcome.status


def _check_never_started(judgement: Judgement, instance: NodeInstance, outcome: Outcome) -> None:
    if outcome.status in ("succeeded", "abandoned"):
        judgement.complain(instance, f"is {outcome.status}, but it never started")
    if outcome.status == "failed" and outcome.error is None and not outcome.reason:
        judgement.complain(instance, "failed without an error")
    for inner in instance.walk():
        if inner is not instance and inner.path in judgement.ends:
            judgement.complain(inner, f"was called, though {instance.path} around it never started")


def _allowed_statuses(
    judgement: Judgement, instance: NodeInstance, inside: list[Status], outcome: Outcome | None
) -> Iterator[Status]:
    """Every status that an instance which started may have, the likeliest first; stops of its children aside."""
    if instance.item:
        yield inside[0]
        return
    match instance.node:
        case Leaf():
            yield from _leaf_statuses(judgement, instance, outcome)
        case Chain():
            yield _chain_status(judgement, instance, inside)
        case Group(derived=True):
            failing: list[Status] = [status for status in inside if status not in FINE]
            failing.sort(key=lambda status: status == "cancelled")
            fine: Status = "succeeded"
            yield failing[0] if failing else fine
        case Group():
            yield from _group_statuses(judgement, instance, instance.node, inside, outcome)
        case Loop():
            yield from _loop_statuses(judgement, instance, instance.node, inside)
        case Choice():
            chosen: list[Status] = [
                status
                for case, status in zip(instance.children, inside, strict=True)
                if not _all_skipped(judgement, case)
            ]
            if len(chosen) > 1:
                judgement.complain(instance, f"{len(chosen)} cases of one switch were chosen")
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


def _all_skipped(judgement: Judgement, instance: NodeInstance) -> bool:
    inside = (judgement.outcomes.get(inner.path) for inner in instance.walk() if inner.declared)
    return all(outcome is not None and outcome.status == "skipped" for outcome in inside)


def _leaf_statuses(judgement: Judgement, instance: NodeInstance, outcome: Outcome | None) -> Iterator[Status]:
    end = judgement.ends.get(instance.path)
    stopped = _may_be_stopped(judgement, instance)
    if end == "returned":
        yield "succeeded"
        if outcome is not None and outcome.error is not None:
            yield "failed"  # its result cannot be kept
    elif end == "failed":
        yield "failed"
    elif end == "raised":
        yield from ("failed", "timed_out")
    elif end == "stopped":
        yield from ("timed_out", "abandoned") if _has_timeout(judgement, instance) else ()
    elif outcome is not None and outcome.error is not None:
        yield "failed"  # its inputs or options do not fit
    if stopped:
        yield "cancelled"


def _chain_status(judgement: Judgement, instance: NodeInstance, inside: list[Status]) -> Status:
    first = next((i for i, status in enumerate(inside) if status not in FINE), None)
    if first is None:
        return "succeeded"
    for later in instance.children[first + 1 :]:
        started = next((inner for inner in later.walk() if inner.path in judgement.ends), None)
        if started is not None:
            judgement.complain(started, f"was called after {instance.children[first].path} ended {inside[first]}")
    return inside[first]


def _group_statuses(
    judgement: Judgement, instance: NodeInstance, group: Group, inside: list[Status], outcome: Outcome | None
) -> Iterator[Status]:
    race = group.merge is not None and group.merge.strategy in RACES
    policy = Policy(success_when="any") if race else group.policy
    counted = [status for status in inside if status != "skipped"]
    _check_branches(judgement, instance, group, inside, race)
    if policy.satisfied(counted.count("succeeded"), len(counted)):
        yield "succeeded"
        if outcome is not None and outcome.reason:
            yield "failed"  # its results cannot be merged; that is checked elsewhere
    else:
        yield "failed"
        failing = [status for status in inside if status not in FINE]
        if all(status in _OUT_OF_TIME for status in failing) and _has_timeout(judgement, instance):
            yield "timed_out"


def _check_branches(
    judgement: Judgement, instance: NodeInstance, group: Group, inside: list[Status], race: bool
) -> None:
    own = {status for status in inside if status not in (*FINE, "cancelled")}
    stops = "succeeded" in inside if race else group.policy.on_branch_failure != "continue" and bool(own)
    for branch, status in zip(instance.children, inside, strict=True):
        if status == "cancelled" and not stops and not _may_be_stopped(judgement, instance):
            judgement.complain(branch, "was cancelled, but nothing around it stops its branches")
        node = branch.node
        before = all_before(group.after, branch.index)
        waits = any(inside[earlier] not in FINE for earlier in before)
        if status == "succeeded" and waits:
            judgement.complain(branch, "succeeded, though a branch that it depends on did not")
        excused = waits or not node.enabled or node.when is not None or group.split is not None
        if status == "skipped" and not excused:
            judgement.complain(branch, "was skipped without a reason")


def _loop_statuses(judgement: Judgement, instance: NodeInstance, loop: Loop, inside: list[Status]) -> Iterator[Status]:
    if instance.path not in judgement.trace.sizes:
        yield "failed"  # the field that it goes over is no list, or a list that is too long
        return
    failed = sum(1 for status in inside if status not in (*FINE, "cancelled"))
    exceeded = (loop.tolerated or Tolerance()).exceeded(failed, len(inside))
    if not exceeded and "cancelled" in inside and not _may_be_stopped(judgement, instance):
        judgement.complain(instance, "items were cancelled, though no more failed than may")
    yield "failed" if exceeded else "succeeded"
    failing = [status for status in inside if status not in FINE]
    if exceeded and all(status in _OUT_OF_TIME for status in failing) and _has_timeout(judgement, instance):
        yield "timed_out"
    outcome = judgement.outcomes.get(instance.path)
    if not exceeded and outcome is not None and outcome.reason:
        yield "failed"  # the results of the items cannot be merged; that is checked elsewhere


def _may_be_stopped(judgement: Judgement, instance: NodeInstance) -> bool:
    """Whether something around an instance could have cancelled it: the end of the run, a policy, or a race."""
    result = judgement.trace.result
    if judgement.trace.stopped == "cancel" or (result is not None and result.stopped):  # `stopped` by its budget
        return True
    for outer, _ in instance.above:
        node = outer.node
        if isinstance(node, Group) and not outer.item:
            race = node.merge is not None and node.merge.strategy in RACES
            if race or node.policy.on_branch_failure == "cancel":
                return True
    return False


def _has_timeout(judgement: Judgement, instance: NodeInstance) -> bool:
    """Whether a timeout applies to an instance."""
    node = instance.node
    if isinstance(node, Leaf) and node.retry.attempt_timeout_s is not None:
        return True
    if judgement.trace.plan.pipeline.timeout_s is not None or node.timeout_s is not None:
        return True
    return any(_own_timeout(outer) for outer, _ in instance.above)


def _own_timeout(instance: NodeInstance) -> bool:
    return instance.node.timeout_s is not None or (
        isinstance(instance.node, Sub) and instance.node.plan.pipeline.timeout_s is not None
    )
