"""Checks the status of steps, branches and items that never started: skipped, held back, or out of time."""

from collections.abc import Iterator

from flows.author import Outcome, Status
from flows.planning import Chain, Choice, Group, Leaf, Sub, all_before
from flows.testkit.evidence import FINE, Evidence, is_race, was_only_stopped
from flows.testkit.shape import NodeInstance


def unstarted_complaints(evidence: Evidence, instance: NodeInstance, outcome: Outcome) -> Iterator[str]:
    """Everything that is wrong with the outcome of something that never started, in words."""
    allowed = sorted(set(_allowed_statuses(evidence, instance, outcome)))
    if outcome.status not in allowed and not evidence.stopped_whole:
        yield f"is {outcome.status} without a start; it can only be {' or '.join(allowed) or 'started'}"
    if outcome.error is None and not outcome.reason:
        yield f"is {outcome.status} without an error or a reason"
    if outcome.attempts or outcome.seconds or outcome.cost:
        yield "has attempts, seconds or cost, but it never started"
    for inner in instance.walk():
        if inner is not instance and inner.path in evidence.ends:
            yield f"never started, but {inner.path} in it was called"


def _allowed_statuses(evidence: Evidence, instance: NodeInstance, outcome: Outcome) -> Iterator[Status]:
    node = instance.node
    around = next((outer for outer, _ in instance.above if outer.declared), None)
    about = evidence.outcomes.get(around.path) if around is not None else None
    if about is not None and about.started is None:
        yield "skipped" if about.status == "failed" else about.status
        return
    if instance.item:
        yield "cancelled"  # whether its loop may hold it back is checked with the loop
        return
    if isinstance(node, Leaf) and evidence.time_was_up(instance) is not False:
        yield "timed_out"
    if evidence.was_stopped(instance):
        yield "cancelled"
    if not node.enabled or node.when is not None:
        yield "skipped"
        if outcome.error is not None:
            yield "failed"  # its condition cannot be evaluated
    if instance.parent is not None and not instance.parent.item:
        yield from _allowed_by_parent(evidence, instance, instance.parent, about)


def _allowed_by_parent(
    evidence: Evidence, instance: NodeInstance, parent: NodeInstance, about: Outcome | None
) -> Iterator[Status]:
    """The statuses that the step directly around it allows; `about` is the outcome of the nearest step that has one."""
    if parent.parent is not None and isinstance(parent.parent.node, Choice) and _all_skipped(evidence, parent):
        yield "skipped"  # another case was chosen
    match parent.node:
        case Chain():
            earlier = _first_failed(evidence, parent.children[: instance.index])
            if earlier is not None:
                yield "cancelled" if earlier == "cancelled" else "skipped"
        case Group() as group:
            before = [parent.children[position] for position in sorted(all_before(group.after, instance.index))]
            if _first_failed(evidence, before) is not None:
                yield "skipped"
            if _holds_back(evidence, instance, parent, group):
                yield "cancelled"
            if evidence.time_was_up(instance) is not False:
                yield "timed_out"
            if group.split is not None and about is not None and about.error is not None:
                yield "skipped"  # there is nothing to divide
        case Sub() if about is not None and about.error is not None:
            yield "skipped"  # its parameters cannot be made
        case _:
            pass


def _holds_back(evidence: Evidence, instance: NodeInstance, parent: NodeInstance, group: Group) -> bool:
    """Whether a group had a reason to start no new branches when this one was given up."""
    if group.derived:
        others = [child for child in parent.children if child is not instance]
        return _first_failed(evidence, others) is not None
    if group.policy.on_branch_failure == "continue" and not is_race(parent):
        return False
    return evidence.stops(parent, instance, evidence.ended[instance.path][1])


def _first_failed(evidence: Evidence, steps: list[NodeInstance]) -> Status | None:
    """The status of the first of these that did not succeed; `cancelled` for one that was only stopped."""
    for step in steps:
        outcome = evidence.outcomes.get(step.path) if step.declared else None
        if outcome is None:
            inside = _first_failed(evidence, step.children)
            if inside is not None:
                return inside
        elif outcome.status not in FINE:
            return "cancelled" if was_only_stopped(outcome) else outcome.status
    return None


def _all_skipped(evidence: Evidence, instance: NodeInstance) -> bool:
    inside = [evidence.outcomes.get(inner.path) for inner in instance.walk() if inner.declared]
    return all(outcome is not None and outcome.status == "skipped" for outcome in inside)
