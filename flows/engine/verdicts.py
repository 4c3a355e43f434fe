"""The kinds of groups: when the end of one branch stops the others, and how the group ends.

docs/failure.md is the specification. A plain group follows its policy. A race (`merge: fastest_success`) asks for one
branch. A derived group is made from a list of steps (`mode: dag`), and a failure in it counts as it would in the list.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from flows.author import RACES, ErrorInfo, Status
from flows.engine.run_state import OUT_OF_TIME, NodeResult
from flows.engine.wording import BranchFailure, GroupWording
from flows.model import MinSuccess, Policy
from flows.planning import Group


@dataclass(frozen=True)
class Stop:
    """The reason why the branches of a group are stopped."""

    position: int
    """The position of the branch whose end stops the others."""
    reason: str
    cancels: bool
    """Whether running branches are cancelled; if not, only branches that have not begun are held back."""


@dataclass(frozen=True)
class Verdict:
    """How a group ends, once all its branches have ended."""

    merged: Sequence[int]
    """Positions of the branches whose changes are merged."""
    salvaged: Sequence[int] = ()
    """Those whose changes are merged if the group fails only because its named result cannot be made."""
    failure: NodeResult | None = None
    """How the group ended, if it did not succeed."""
    has_result: bool = True
    """Whether the group makes its named result (`merge:`)."""
    lost: Sequence[int] = ()
    """Branches of a race that did not win; some of them may have succeeded at the same instant."""
    passed_on: NodeResult | None = None
    """The result of a list of steps: that of its last step."""
    fails_run: bool = False
    """Whether the run has failed although the group succeeded."""
    text: str = ""
    """For the log."""
    level: int = logging.INFO


class GroupKind(Protocol):
    """The rules of one kind of group."""

    @property
    def takes_back(self) -> bool:
        """Whether a failed group undoes the effects of its branches."""
        ...

    def stop_after(self, before: Stop | None, position: int, result: NodeResult) -> Stop | None:
        """The reason to stop branches after one has ended; `before` is the reason so far."""
        ...

    def holds_back(self, stop: Stop, position: int) -> bool:
        """Whether a branch that has not begun must not begin any more."""
        ...

    def judge(self, results: Sequence[NodeResult], *, time_is_up: bool) -> Verdict:
        """How the group ends; `time_is_up` refers to the group's own timeout."""
        ...


def group_kind(group: Group, wording: GroupWording) -> GroupKind:
    """The kind of a group, whose failure is described in `wording`."""
    if group.derived:
        return DerivedGroup(group)
    race = group.merge is not None and group.merge.strategy in RACES
    return Race(group, wording) if race else PlainGroup(group, wording)


@dataclass(frozen=True)
class PlainGroup:
    """A group that follows its policy."""

    group: Group
    wording: GroupWording

    @property
    def takes_back(self) -> bool:
        policy = self.group.policy
        return policy.success_when == "all" and policy.merge_when_failed == "nothing"

    def stop_after(self, before: Stop | None, position: int, result: NodeResult) -> Stop | None:
        answer = self.group.policy.on_branch_failure
        if result.ok or result.stopped or answer == "continue" or before is not None:
            return before
        return Stop(position, f"{self.group.children[position].label} {result.status}", answer == "cancel")

    def holds_back(self, stop: Stop, position: int) -> bool:
        return True

    def judge(self, results: Sequence[NodeResult], *, time_is_up: bool) -> Verdict:
        policy = self.group.policy
        succeeded, failing, counted = (
            _succeeded_positions(results),
            _failing_positions(results),
            _count_not_skipped(results),
        )
        merges = policy.merge_when_failed == "successful"
        if not policy.satisfied(len(succeeded), counted):
            merged = succeeded if merges else ()
            return _failed_verdict(self, policy, results, merged=merged, time_is_up=time_is_up)
        if not failing:
            return Verdict(succeeded, succeeded if merges else ())
        salvaged = succeeded if merges else ()
        return Verdict(
            salvaged,
            salvaged,
            fails_run=policy.run_when_failed == "failed",
            text=f"Partial success: {len(succeeded)}/{counted} handlers succeeded",
            level=logging.WARNING,
        )


@dataclass(frozen=True)
class Race:
    """A group that is complete as soon as one branch has succeeded."""

    group: Group
    wording: GroupWording
    takes_back = False

    def stop_after(self, before: Stop | None, position: int, result: NodeResult) -> Stop | None:
        if result.status != "succeeded" or before is not None:
            return before
        return Stop(position, f"{self.group.children[position].label} was faster", cancels=True)

    def holds_back(self, stop: Stop, position: int) -> bool:
        return True

    def judge(self, results: Sequence[NodeResult], *, time_is_up: bool) -> Verdict:
        policy, succeeded = Policy(success_when="any", merge_when_failed="successful"), _succeeded_positions(results)
        if policy.satisfied(len(succeeded), _count_not_skipped(results)):
            # Several succeed if they end before they can be stopped. Which of them did so first is chance.
            return Verdict(succeeded[:1], lost=sorted([*succeeded[1:], *_failing_positions(results)]))
        return _failed_verdict(self, policy, results, merged=(), time_is_up=time_is_up)


@dataclass(frozen=True)
class DerivedGroup:
    """A list of steps, some of which run side by side; it ends as the list would."""

    group: Group
    takes_back = False

    def stop_after(self, before: Stop | None, position: int, result: NodeResult) -> Stop | None:
        if result.ok or result.stopped or (before is not None and before.position <= position):
            return before
        return Stop(position, f"{self.group.children[position].label} {result.status}", cancels=False)

    def holds_back(self, stop: Stop, position: int) -> bool:
        return position > stop.position  # steps before the failed one run, as they would in the list

    def judge(self, results: Sequence[NodeResult], *, time_is_up: bool) -> Verdict:
        failing = _failing_positions(results)
        if not failing:
            return Verdict(_succeeded_positions(results), passed_on=results[-1] if results else None)
        first = (_cause_positions(results) or failing)[0]
        failure = results[first]
        if failure.status == "timed_out" and failure.error is None:
            # The step had no time left to start. The list around it did start, and has run out of time.
            text = f"{self.group.children[first].id}: {failure.reason}"
            failure = replace(failure, error=ErrorInfo("StepTimeout", text, transient=True), reason="")
        # The failed step leaves what it would have left in the list: a failed group, for example, salvaged branches.
        return Verdict([i for i in _succeeded_positions(results) if i < failing[0]] + [failing[0]], failure=failure)


def _failed_verdict(
    kind: PlainGroup | Race,
    policy: Policy,
    results: Sequence[NodeResult],
    *,
    merged: Sequence[int],
    time_is_up: bool,
) -> Verdict:
    group = kind.group
    failing = _failing_positions(results)
    has_result = policy.merge_when_failed == "successful"
    if not failing:  # skipped branches do not count, so that too few may be left
        least = policy.success_when.min if isinstance(policy.success_when, MinSuccess) else policy.success_when
        text = (
            f"{len(_succeeded_positions(results))} of {_count_not_skipped(results)} branches succeeded; "
            f"success_when requires at least {least}"
        )
        failure = NodeResult("failed", error=ErrorInfo("PipelineException", text))
        text = f"{text} (Step: {group.label})"
        return Verdict(merged, merged, failure, has_result, text=text, level=logging.ERROR)
    causes = _cause_positions(results) or failing
    failures = [BranchFailure(group.children[i], _message(results[i])) for i in causes]
    transient = all(results[i].transient for i in failing)
    error = kind.wording.failed(group, failures, transient=transient)
    only_time = all(results[i].status in OUT_OF_TIME for i in failing)
    status: Status = "timed_out" if only_time and time_is_up else "failed"
    failure = NodeResult(status, error=error, transient=transient)
    names = ", ".join(group.children[i].label for i in causes)
    log = f"{error.message} (Step: {group.label}; Failed Handlers: {names}; IsTransient: {str(transient).lower()})"
    return Verdict(merged, merged, failure, has_result, text=log, level=logging.ERROR)


def _message(result: NodeResult) -> str:
    return result.error.message if result.error else result.reason


def _succeeded_positions(results: Sequence[NodeResult]) -> list[int]:
    return [position for position, result in enumerate(results) if result.status == "succeeded"]


def _failing_positions(results: Sequence[NodeResult]) -> list[int]:
    return [position for position, result in enumerate(results) if not result.ok]


def _cause_positions(results: Sequence[NodeResult]) -> list[int]:
    """Positions of the branches that failed by themselves; stopped ones are left out."""
    return [position for position, result in enumerate(results) if not result.ok and not result.stopped]


def _count_not_skipped(results: Sequence[NodeResult]) -> int:
    return sum(1 for result in results if result.status != "skipped")
