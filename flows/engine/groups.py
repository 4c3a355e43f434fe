"""Runs the branches of a group: concurrency limits, isolation, stopping, and the merge in declared order."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

from flows.author import (
    BranchResult,
    DeferredCombination,
    ErrorInfo,
    error_info,
    merge_results,
    message_of,
    split_items,
)
from flows.calling import call_in_thread
from flows.engine.compensation import compensate
from flows.engine.run_state import NodeResult, RunNode, RunState, Scope, wait_for_all
from flows.engine.verdicts import GroupKind, Stop, Verdict, group_kind
from flows.engine.wording import GroupWording, group_wording
from flows.errors import FatalError, OrchestrationError
from flows.limits import Slot, Window
from flows.model import Merge
from flows.planning import BranchViews, Group, waits_of_all
from flows.state import Context, Delta, ExternalSequence, hand_out, merge_deltas, read_path

logger = logging.getLogger(__name__)


@dataclass
class _Branches:
    """The branches of one group while they run, by position."""

    kind: GroupKind
    wording: GroupWording
    began: float
    results: list[NodeResult | None]
    deltas: list[Delta]
    ended: list[asyncio.Event]
    finished: list[int]
    """Per branch, the rank in which it succeeded, from 1; 0 if it did not succeed."""
    blocked: dict[int, int | None] = field(default_factory=dict[int, int | None])
    """For each branch with dependencies: the first unsuccessful branch among them."""
    tasks: list["asyncio.Task[None]"] = field(default_factory=list["asyncio.Task[None]"])
    stop: Stop | None = None

    @property
    def reason(self) -> str:
        """The reason for the outcome of a branch that is cancelled now."""
        return self.stop.reason if self.stop is not None else "stopped"

    def first_failed(self, group: Group, position: int) -> int | None:
        """The first unsuccessful branch among the direct and indirect dependencies of a branch.

        A skipped branch counts as unsuccessful, because after an earlier failure the later branches lack their inputs.
        """
        failed: list[int] = []
        for earlier in group.after[position] if group.after else ():
            ended, behind = self.results[earlier], self.blocked.get(earlier)
            if ended is not None and not ended.ok:
                failed.append(earlier)
            if behind is not None:
                failed.append(behind)
        return min(failed, default=None)


async def run_group(state: RunState, group: Group, context: Context, scope: Scope, run_node: RunNode) -> NodeResult:
    """Run the branches of a group, each on its own view of the context, and merge the branches that the verdict
    selects.
    """
    count = len(group.children)
    ended = [asyncio.Event() for _ in range(count)]
    wording, began = group_wording(state.plan.dialect), asyncio.get_running_loop().time()
    branches = _Branches(group_kind(group, wording), wording, began, [None] * count, [()] * count, ended, [0] * count)
    if not group.derived:
        logger.info("%s", wording.begun(group))
    try:
        shares = _branch_shares(group, context)
    except OrchestrationError as error:
        for child in group.children:
            state.never_started(child, scope, "skipped", str(error))
        return NodeResult("failed", error=error_info(error))
    window = Window(group.limit.value)
    logger.debug("Created %d isolated contexts for parallel execution", count)
    views = BranchViews(
        group.after,
        count,
        fork=context.fork,
        copy=Context.twin,
        add=lambda view, earlier: view.apply(branches.deltas[earlier]),
    )

    async def run_branch(position: int) -> None:
        child, slot = group.children[position], Slot(window)
        try:
            result = await _await_start(state, group, branches, position, scope, slot)
            if result is None:
                base = views.begin(position)
                if shares is not None and group.split is not None:
                    base.data[group.split.over] = shares[position]
                branch = base.fork()
                result = await run_node(state, child, branch, replace(scope, slot=slot))
                branches.deltas[position] = branch.delta()
                views.end(position, base)
        except asyncio.CancelledError:
            result = state.never_started(child, scope, "cancelled", branches.reason)
        finally:
            slot.let_go()
        _note_end(group, branches, position, result)

    def settle(position: int) -> None:
        """Record a branch whose task was cancelled before its first step."""
        if branches.results[position] is None:
            result = state.never_started(group.children[position], scope, "cancelled", branches.reason)
            _note_end(group, branches, position, result)

    for position in range(count):
        task = asyncio.ensure_future(run_branch(position))
        task.add_done_callback(lambda _, position=position: settle(position))
        branches.tasks.append(task)
    if await wait_for_all(branches.tasks):
        return NodeResult("cancelled", reason=branches.reason, transient=True)
    concluded = await _conclude(state, group, context, scope, branches)
    if not concluded.ok and branches.kind.takes_back:
        await compensate(state, group, scope)
    return concluded


async def _await_start(
    state: RunState, group: Group, branches: _Branches, position: int, scope: Scope, slot: Slot
) -> NodeResult | None:
    """Wait for the branches that it depends on and for its slot; return a result only if it will never start."""
    child = group.children[position]
    try:
        async with asyncio.timeout_at(scope.deadline):
            for earlier in sorted(group.after[position]) if group.after else ():
                await branches.ended[earlier].wait()
            failed = branches.blocked[position] = branches.first_failed(group, position)
            if failed is None:
                await slot.hold()
    except TimeoutError:
        return state.never_started(child, scope, "timed_out", "timed out before it started")
    if failed is not None:
        return state.never_started(child, scope, "skipped", f"{group.children[failed].label} did not succeed")
    if branches.stop is not None and branches.kind.holds_back(branches.stop, position):
        return state.never_started(child, scope, "cancelled", branches.reason)
    return None


def _note_end(group: Group, branches: _Branches, position: int, result: NodeResult) -> None:
    """Record how a branch ended, and stop the others if the rules of the group demand it."""
    branches.results[position] = result
    branches.ended[position].set()
    if result.status == "succeeded":
        branches.finished[position] = max(branches.finished) + 1
        if not group.derived:
            logger.info("%s", branches.wording.branch_succeeded(group.children[position]))
    before, branches.stop = branches.stop, branches.kind.stop_after(branches.stop, position, result)
    if branches.stop is not None and branches.stop is not before and branches.stop.cancels:
        _cancel_others(branches, position)


def _cancel_others(branches: _Branches, position: int) -> None:
    for other, task in enumerate(branches.tasks):
        if other != position and not branches.ended[other].is_set():
            task.cancel()


def _branch_shares(group: Group, context: Context) -> list[list[Any]] | None:
    if group.split is None:
        return None
    items = hand_out(read_path(context.fork(), group.split.over))
    if not isinstance(items, (list, tuple, ExternalSequence)):
        kind = type(items).__name__
        raise OrchestrationError(f"{group.id}: split divides {group.split.over!r}, which is a {kind}, not a list")
    shared = cast("Sequence[Any]", items)
    return split_items(group.split.strategy, shared, len(group.children), group.split.options)


async def merged_result(merge: Merge, results: Sequence[BranchResult], context: Context) -> Any:
    """The merged result of a group; combining files happens in a thread.

    Raises:
        OrchestrationError: the branches' results cannot be merged.
    """
    # Copies: the branches' deltas and the journal hold these values, and a strategy may change its arguments.
    handed_out = [replace(result, value=hand_out(result.value)) for result in results]
    found = merge_results(merge.strategy, handed_out, merge.options)
    if not isinstance(found, DeferredCombination):
        return found
    services = context.identity.services
    try:
        return await call_in_thread(lambda: found.combine(found.values, services), name=f"braid-{merge.strategy}")
    except OrchestrationError:
        raise
    except Exception as error:
        raise FatalError(f"merge strategy {merge.strategy!r}: {message_of(error)}") from error


async def _conclude(state: RunState, group: Group, context: Context, scope: Scope, branches: _Branches) -> NodeResult:
    """Merge the branches that the verdict selects, and make the group's named result."""
    ended = [result for result in branches.results if result is not None]
    assert len(ended) == len(group.children), "a branch without a result"
    verdict = branches.kind.judge(ended, time_is_up=scope.time_is_up)
    results = scope.groups[group.id] = _branch_results(group, branches, ended, verdict.lost)
    value: Any = None
    refused: ErrorInfo | None = None
    try:
        if group.merge is not None and verdict.has_result:
            value = await merged_result(group.merge, results, context)
            # Checked before the merge, because a context may be unable to hold the value.
            _result_delta(group, context, value)
    except OrchestrationError as error:
        refused = error_info(error)
    except asyncio.CancelledError:
        return NodeResult("cancelled", reason="stopped", transient=True)
    try:
        _merge_branches(group, context, branches, verdict.salvaged if refused else verdict.merged)
    except OrchestrationError as error:
        return NodeResult("failed", error=error_info(error))
    if refused is not None and verdict.failure is None:
        return NodeResult("failed", error=refused)
    if refused is None and group.merge is not None and verdict.has_result:
        context.apply(_result_delta(group, context, value))
    if verdict.failure is None and not verdict.text and not group.derived:
        logger.info("%s", _success_text(group, branches, verdict))
    if verdict.text:
        logger.log(verdict.level, "%s", verdict.text)
    if verdict.failure is not None:
        return verdict.failure
    state.lost += [scope.path(group.children[position]) for position in verdict.lost]
    if verdict.fails_run:
        state.fails_run.append(scope.path(group))
    if verdict.passed_on is not None:
        return replace(verdict.passed_on, status="succeeded", reason="")
    return NodeResult("succeeded", value=value)


def _result_delta(group: Group, context: Context, value: Any) -> Delta:
    """The change that writes a group's named result.

    Raises:
        OrchestrationError: a context cannot hold it.
    """
    branch = context.fork()
    if group.merge is not None:
        branch.data[group.merge.output or group.id] = value
    return branch.delta()


def _success_text(group: Group, branches: _Branches, verdict: Verdict) -> str:
    seconds = asyncio.get_running_loop().time() - branches.began
    written = (change.path for position in verdict.merged for change in branches.deltas[position])
    produced = list(dict.fromkeys(str(path[1]) for path in written if path[0] == "data" and len(path) > 1))
    return branches.wording.succeeded(group, len(verdict.merged), seconds=seconds, produced=produced)


def _branch_results(
    group: Group, branches: _Branches, ended: Sequence[NodeResult], lost: Sequence[int]
) -> list[BranchResult]:
    """The branches for a merge strategy, without skipped branches and branches that succeeded but lost a race."""
    return [
        BranchResult(
            group.children[position].label,
            result.status == "succeeded",
            result.value,
            result.error.message if result.error else result.reason or None,
            quality=result.quality,
            finished=branches.finished[position],
        )
        for position, result in enumerate(ended)
        if result.status != "skipped" and not (result.status == "succeeded" and position in lost)
    ]


def _merge_branches(group: Group, context: Context, branches: _Branches, merged: Sequence[int]) -> None:
    """Merge the changes of the branches that count, in declared order.

    Raises:
        MergeConflict: two of them cannot be combined.
    """
    children = group.children
    if not merged:
        return
    logger.debug("Merging %d isolated contexts back into main context", len(merged))
    before = waits_of_all(group.after, len(children))
    alike = len({child.label for child in children}) < len(children)
    merge_deltas(
        context,
        [(children[i].id if alike else children[i].label, branches.deltas[i]) for i in merged],
        reducers=group.reducers,
        ordered=lambda first, second: bool(before[merged[second]] >> merged[first] & 1),
    )
