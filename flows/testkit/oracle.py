"""Checks every outcome against the ends of the handlers and the declared policies, without any code of the engine.

It goes through the declared tree from the leaves upwards and is written from docs/failure.md. The outcome of a leaf
must agree with the end of its last attempt, every other outcome with the outcomes directly inside it. If each of them
agrees, the whole run does. Values, and whether results could be merged, are checked in `values.py`.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from flows.author import Outcome, RunStatus, Status
from flows.model import Policy, Tolerance
from flows.planning import Chain, Choice, FanIn, Group, Leaf, Loop, Sub, all_before
from flows.testkit.evidence import FINE, Evidence, is_race, was_only_stopped
from flows.testkit.shape import NodeInstance
from flows.testkit.trace import RunTrace
from flows.testkit.unstarted import unstarted_complaints

_OUT_OF_TIME = ("timed_out", "abandoned", "cancelled")


@dataclass
class Judgement:
    """The evidence of a run, and the complaints about its outcomes."""

    evidence: Evidence
    complaints: list[str] = field(default_factory=list[str])

    def outcome(self, instance: NodeInstance) -> Outcome | None:
        return self.evidence.outcomes.get(instance.path) if instance.declared else None

    def complain(self, instance: NodeInstance, text: str) -> None:
        self.complaints.append(f"{instance.path or 'the run'} ({instance.node.label}): {text}")


def judge(trace: RunTrace, root: NodeInstance) -> list[str]:
    """Every wrong outcome of a finished run, in words."""
    judgement = Judgement(Evidence(trace))
    status = _status(judgement, root)
    result = trace.result
    if result is not None:
        expected = "failed" if result.stopped else _run_status(judgement, root, status)
        if result.status != expected:
            judgement.complain(root, f"the run reports {result.status}, but it {_status_meaning(expected)}")
    return judgement.complaints


def _run_status(judgement: Judgement, root: NodeInstance, status: Status) -> RunStatus:
    if status not in FINE:
        return "failed"
    partial = False
    losers = _race_losers(judgement, root)
    for instance in root.walk():
        outcome = judgement.outcome(instance)
        if outcome is None or any(outcome.path.inside(path) for path in losers):
            continue
        failed = outcome.status not in FINE and not was_only_stopped(outcome)
        partial = partial or failed or bool(outcome.failures)
        if outcome.status == "succeeded" and _fails_run(judgement, instance):
            return "failed"
    return "partial" if partial else "succeeded"


def _fails_run(judgement: Judgement, instance: NodeInstance) -> bool:
    """Whether the run has failed since a branch or item did (`run_when_failed`), though the run went on."""
    inside = [judgement.outcome(child) for child in instance.children]
    failed = [one for one in inside if one is not None and one.status not in FINE]
    match instance.node:
        case Group(derived=False, policy=policy) if not instance.item and not is_race(instance):
            return bool(failed) and policy.run_when_failed == "failed"
        case Loop(tolerated=Tolerance(run_when_failed="failed")) if not instance.item:
            return any(one.status != "cancelled" for one in failed)
        case _:
            return False


def _race_losers(judgement: Judgement, root: NodeInstance) -> list[str]:
    """The branches of races that another branch won: of those that succeeded, the first declared."""
    lost: list[str] = []
    for instance in root.walk():
        around = judgement.outcome(instance)
        if is_race(instance) and around is not None and around.status == "succeeded":
            outcomes = [judgement.outcome(branch) for branch in instance.children]
            ran = [one for one in outcomes if one is not None and one.status != "skipped"]
            winner = next((one for one in ran if one.status == "succeeded"), None)
            lost += [one.path for one in ran if one is not winner]
    return lost


def _status_meaning(status: RunStatus) -> str:
    return {
        "failed": "failed: a required step did not succeed",
        "partial": "succeeded in part: some step had an error",
        "succeeded": "succeeded: nothing failed",
    }[status]


def _status(judgement: Judgement, instance: NodeInstance) -> Status:
    """The status in the outcome of an instance; without an outcome, the status that follows from its children."""
    outcome = judgement.outcome(instance)
    inside: list[Status] = [_status(judgement, child) for child in instance.children]
    if outcome is None and instance.declared:
        return "succeeded"  # the missing outcome is reported elsewhere
    if outcome is not None and outcome.started is None:
        for text in unstarted_complaints(judgement.evidence, instance, outcome):
            judgement.complain(instance, text)
        return outcome.status
    allowed = list(_allowed_statuses(judgement, instance, inside, outcome))
    if outcome is None:
        return allowed[0]
    if instance.children and judgement.evidence.was_stopped(instance):
        allowed.append("cancelled")
    if outcome.status not in allowed:
        reason = ", ".join(inside) if instance.children else judgement.evidence.ends.get(instance.path, "never called")
        judgement.complain(
            instance, f"is {outcome.status}; it can only be {' or '.join(dict.fromkeys(allowed))} ({reason})"
        )
    if outcome.status not in FINE and outcome.error is None and not outcome.reason:
        judgement.complain(instance, f"is {outcome.status} without an error or a reason")
    return outcome.status


def _allowed_statuses(
    judgement: Judgement, instance: NodeInstance, inside: list[Status], outcome: Outcome | None
) -> Iterator[Status]:
    """Every status that an instance which started may have, the likeliest first; stops of its children aside."""
    if instance.item:
        yield inside[0]
        return
    match instance.node:
        case Leaf() as leaf:
            yield from _leaf_statuses(judgement, instance, leaf, outcome)
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
            yield from _loop_statuses(judgement, instance, instance.node, inside, outcome)
        case Choice():
            chosen: list[Status] = [
                status
                for case, status in zip(instance.children, inside, strict=True)
                if not _all_skipped(judgement, case)
            ]
            if len(chosen) > 1:
                judgement.complain(instance, f"{len(chosen)} cases of one switch were chosen")
            yield chosen[0] if chosen else "succeeded"
            if not chosen and outcome is not None and outcome.error is not None:
                yield "failed"  # a condition cannot be evaluated
        case Sub():
            yield inside[0]
            if outcome is not None and outcome.error is not None and all(status == "skipped" for status in inside):
                yield "failed"  # its parameters cannot be made
        case FanIn():
            yield "succeeded"
            if outcome is not None and outcome.error is not None:
                yield "failed"  # `values.py` checks which of them
            if judgement.evidence.was_stopped(instance):
                yield "cancelled"


def _all_skipped(judgement: Judgement, instance: NodeInstance) -> bool:
    inside = (judgement.outcome(inner) for inner in instance.walk() if inner.declared)
    return all(outcome is not None and outcome.status == "skipped" for outcome in inside)


def _leaf_statuses(
    judgement: Judgement, instance: NodeInstance, leaf: Leaf, outcome: Outcome | None
) -> Iterator[Status]:
    evidence = judgement.evidence
    end = evidence.ends.get(instance.path)
    late = evidence.time_was_up(instance)
    error = outcome.error if outcome is not None else None
    if end == "returned":
        yield "succeeded"
        if error is not None:
            yield "failed"  # its result cannot be kept
    elif end == "failed":
        yield "failed"
    elif end == "raised":
        yield "failed"
        attempts = outcome.attempts if outcome is not None else 0
        again = error is not None and error.transient and attempts < leaf.retry.max_attempts
        if late is not False and attempts < leaf.retry.max_attempts:
            yield "timed_out"  # before the turn of its next attempt
        unbounded = judgement.evidence.trace.plan.retry_budget is None and not evidence.stopped_whole
        if again and unbounded and not evidence.has_deadline(instance) and not evidence.was_stopped(instance):
            judgement.complain(instance, f"failed for now in attempt {attempts}, and was not tried again")
    elif end == "stopped":
        if late is not False or evidence.attempt_was_too_long(instance):
            yield from ("timed_out", "abandoned") if evidence.trace.real_time else ("timed_out",)
    elif error is not None:
        yield "failed"  # its inputs or options do not fit
    if evidence.was_stopped(instance):
        yield "cancelled"
        if evidence.trace.real_time:
            yield "abandoned"


def _chain_status(judgement: Judgement, instance: NodeInstance, inside: list[Status]) -> Status:
    first = next((i for i, status in enumerate(inside) if status not in FINE), None)
    if first is None:
        return "succeeded"
    for later in instance.children[first + 1 :]:
        started = next((inner for inner in later.walk() if inner.path in judgement.evidence.ends), None)
        if started is not None:
            judgement.complain(started, f"was called after {instance.children[first].path} ended {inside[first]}")
    return inside[first]


def _group_statuses(
    judgement: Judgement, instance: NodeInstance, group: Group, inside: list[Status], outcome: Outcome | None
) -> Iterator[Status]:
    policy = Policy(success_when="any") if is_race(instance) else group.policy
    counted = [status for status in inside if status != "skipped"]
    _check_branches(judgement, instance, group, inside)
    if policy.satisfied(counted.count("succeeded"), len(counted)):
        yield "succeeded"
        if outcome is not None and outcome.error is not None:
            yield "failed"  # its results cannot be merged; `values.py` checks that they cannot
    else:
        yield from _failed_or_timed_out(judgement, instance, [status for status in inside if status not in FINE])


def _failed_or_timed_out(judgement: Judgement, instance: NodeInstance, failing: list[Status]) -> Iterator[Status]:
    """The status of a group or loop that has failed: `timed_out` if its time is up, and nothing but time was wrong."""
    only_time = bool(failing) and all(status in _OUT_OF_TIME for status in failing)
    late = judgement.evidence.time_was_up(instance) if only_time else False
    if late is not False:
        yield "timed_out"
    if late is not True:
        yield "failed"


def _check_branches(judgement: Judgement, instance: NodeInstance, group: Group, inside: list[Status]) -> None:
    for branch, status in zip(instance.children, inside, strict=True):
        before = all_before(group.after, branch.index)
        if status == "succeeded" and any(inside[earlier] not in FINE for earlier in before):
            judgement.complain(branch, "succeeded, though a branch that it depends on did not")


def _loop_statuses(
    judgement: Judgement, instance: NodeInstance, loop: Loop, inside: list[Status], outcome: Outcome | None
) -> Iterator[Status]:
    if instance.path not in judgement.evidence.trace.sizes:
        yield "failed"  # the field that it goes over is no list, or a list that is too long
        return
    failing: list[Status] = [status for status in inside if status not in (*FINE, "cancelled")]
    if (loop.tolerated or Tolerance()).exceeded(len(failing), len(inside)):
        yield from _failed_or_timed_out(judgement, instance, failing)
        return
    if "cancelled" in inside and not judgement.evidence.was_stopped(instance):
        judgement.complain(instance, "items were cancelled, though no more failed than may")
    yield "succeeded"
    if outcome is not None and outcome.error is not None:
        yield "failed"  # the results of the items cannot be merged; `values.py` checks that they cannot
