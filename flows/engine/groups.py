"""The branches of a group: windows, policies, isolation, and the merge in declared order."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

from flows.author import (
    RACES,
    BranchResult,
    DeferredCombination,
    ErrorInfo,
    Status,
    error_info,
    failure_summary,
    merge_results,
    message_of,
    split_items,
)
from flows.calling import call_in_thread
from flows.engine.compensation import compensate, takes_back
from flows.engine.run_state import OUT_OF_TIME, NodeResult, RunNode, RunState, Scope, all_done
from flows.errors import FatalError, OrchestrationError
from flows.limits import Slot, Window
from flows.model import Merge, MinSuccess, Policy
from flows.planning import Group, all_before
from flows.state import Context, Delta, ExternalSequence, merge_deltas, read_path

logger = logging.getLogger(__name__)


@dataclass
class _Branches:
    """The branches of one group while they run."""

    results: list[NodeResult | None]
    deltas: list[Delta]
    ended: list[asyncio.Event]
    finished: list[int]
    tasks: list["asyncio.Task[None]"] = field(default_factory=list["asyncio.Task[None]"])
    stopped_at: int | None = None
    """The position of the branch whose end stops the others."""
    reason: str = ""


async def run_group(state: RunState, group: Group, context: Context, scope: Scope, run_node: RunNode) -> NodeResult:
    """Run the branches of a group, each on its own view, and merge what its policy says."""
    count = len(group.children)
    branches = _Branches([None] * count, [()] * count, [asyncio.Event() for _ in range(count)], [0] * count)
    race = group.merge is not None and group.merge.strategy in RACES
    names = ", ".join(child.label for child in group.children)
    if not group.derived:
        logger.info("Executing parallel step with %d handlers: %s", count, names)
    try:
        shares = _shares(group, context)
    except OrchestrationError as error:
        for child in group.children:
            state.never_started(child, scope, "skipped", str(error))
        return NodeResult("failed", error=error_info(error))
    window = Window(group.limit.value)
    logger.debug("Created %d isolated contexts for parallel execution", count)
    before = [sorted(all_before(group.after, position)) for position in range(count)]

    async def run_branch(position: int) -> None:
        child, slot = group.children[position], Slot(window)
        try:
            result = await _enter(state, group, branches, position, scope, slot)
            if result is None:
                base = context.fork()
                for earlier in before[position]:
                    base.apply(branches.deltas[earlier])
                if shares is not None and group.split is not None:
                    base.data[group.split.over] = shares[position]
                branch = base.fork()
                result = await run_node(state, child, branch, replace(scope, slot=slot))
                branches.deltas[position] = branch.delta()
        except asyncio.CancelledError:
            result = state.never_started(child, scope, "cancelled", branches.reason or "stopped")
        finally:
            slot.let_go()
        _ended(group, branches, position, result, race)

    def settle(position: int) -> None:
        """A task that was cancelled before its first step has left nothing behind."""
        if branches.results[position] is None:
            reason = branches.reason or "stopped"
            result = state.never_started(group.children[position], scope, "cancelled", reason)
            _ended(group, branches, position, result, race)

    for position in range(count):
        task = asyncio.ensure_future(run_branch(position))
        task.add_done_callback(lambda _, position=position: settle(position))
        branches.tasks.append(task)
    cancelled = await all_done(branches.tasks)
    if cancelled:
        branches.reason = branches.reason or "stopped"
    results = [result for result in branches.results if result is not None]
    assert len(results) == count, "a branch without a result"
    if cancelled:
        return NodeResult("cancelled", reason=branches.reason or "stopped", transient=True)
    concluded = await _conclude(state, group, context, scope, branches, results, race)
    if not concluded.ok and not race and not group.derived and takes_back(group.policy):
        await compensate(state, group, scope)
    return concluded


async def _enter(
    state: RunState, group: Group, branches: _Branches, position: int, scope: Scope, slot: Slot
) -> NodeResult | None:
    """Wait for what a branch depends on and for its place in the window; a result if it will never start."""
    child = group.children[position]
    try:
        async with asyncio.timeout_at(scope.deadline):
            for earlier in sorted(group.after[position]) if group.after else ():
                await branches.ended[earlier].wait()
            # Also what was skipped because of a failure further back: nothing after it has what it needs.
            waited_for = sorted(all_before(group.after, position))
            failed = next((i for i in waited_for if not cast(NodeResult, branches.results[i]).ok), None)
            if failed is None:
                await slot.hold()
    except TimeoutError:
        result = state.never_started(child, scope, "timed_out", "the time was up before it started")
        return replace(result, transient=True)
    if failed is not None:
        return state.never_started(child, scope, "skipped", f"{group.children[failed].label} did not succeed")
    stopped_at = branches.stopped_at
    # In a list, what stands before the failed step would have run; it still does.
    if stopped_at is not None and (not group.derived or position > stopped_at):
        return state.never_started(child, scope, "cancelled", branches.reason)
    return None


def _ended(group: Group, branches: _Branches, position: int, result: NodeResult, race: bool) -> None:
    """Note how a branch ended and stop the others where the policy or a race says so."""
    branches.results[position] = result
    branches.ended[position].set()
    if result.status == "succeeded":
        branches.finished[position] = max(branches.finished) + 1
        if not group.derived:
            logger.info("Handler '%s' completed successfully in parallel step", group.children[position].label)
    label = group.children[position].label
    if race and result.status == "succeeded" and branches.stopped_at is None:
        branches.stopped_at, branches.reason = position, f"{label} was faster"
        _cancel_others(branches, position)
    elif not result.ok and not result.stopped and not race and group.policy.on_branch_failure != "continue":
        if branches.stopped_at is None or (group.derived and position < branches.stopped_at):
            branches.stopped_at, branches.reason = position, f"{label} {result.status}"
        if group.policy.on_branch_failure == "cancel":
            _cancel_others(branches, position)


def _cancel_others(branches: _Branches, position: int) -> None:
    for other, task in enumerate(branches.tasks):
        if other != position and not branches.ended[other].is_set():
            task.cancel()


def _shares(group: Group, context: Context) -> list[list[Any]] | None:
    if group.split is None:
        return None
    items = read_path(context.fork(), group.split.over)
    if not isinstance(items, (list, tuple, ExternalSequence)):
        kind = type(items).__name__
        raise OrchestrationError(f"{group.id}: split goes over {group.split.over!r}, which is a {kind}, not a list")
    shared = cast("Sequence[Any]", items)
    return split_items(group.split.strategy, shared, len(group.children), group.split.options)


async def merged_result(merge: Merge, results: Sequence[BranchResult], context: Context) -> Any:
    """The one result of a group; work on files is done in a thread.

    Raises:
        OrchestrationError: it cannot be made.
    """
    found = merge_results(merge.strategy, results, merge.options)
    if not isinstance(found, DeferredCombination):
        return found
    services = context.identity.services
    try:
        return await call_in_thread(lambda: found.combine(found.values, services), name=f"braid-{merge.strategy}")
    except OrchestrationError:
        raise
    except Exception as error:
        raise FatalError(f"merge strategy {merge.strategy!r}: {message_of(error)}") from error


async def _conclude(
    state: RunState,
    group: Group,
    context: Context,
    scope: Scope,
    branches: _Branches,
    results: list[NodeResult],
    race: bool,
) -> NodeResult:
    """Judge the group by its policy, merge, and make its named result."""
    children = group.children
    policy = Policy(success_when="any", merge_when_failed="successful") if race else group.policy
    counted = [result for result in results if result.status != "skipped"] if not group.derived else results
    succeeded = [i for i, result in enumerate(results) if result.status == "succeeded"]
    failing = [i for i, result in enumerate(results) if not result.ok]
    ok = policy.satisfied(len(succeeded), len(counted)) if not group.derived else not failing
    if group.derived:
        merged = [i for i in succeeded if not failing or i < failing[0]]
    elif (ok and not failing) or policy.merge_when_failed == "successful":
        merged = succeeded
    else:
        merged = []
    branch_results = [
        BranchResult(
            children[i].label,
            result.status == "succeeded",
            result.value,
            result.error.message if result.error else result.reason or None,
            quality=result.quality,
            finished=branches.finished[i],
        )
        for i, result in enumerate(results)
        if result.status != "skipped"
    ]
    state.groups[group.id] = branch_results
    error: ErrorInfo | None = None
    value: Any = None
    try:
        if merged:
            logger.debug("Merging %d isolated contexts back into main context", len(merged))
            before = [all_before(group.after, i) for i in range(len(children))]
            merge_deltas(
                context,
                [
                    (
                        children[i].id if len({c.label for c in children}) < len(children) else children[i].label,
                        branches.deltas[i],
                    )
                    for i in merged
                ],
                reducers=group.reducers,
                ordered=lambda first, second: merged[first] in before[merged[second]],
            )
        if group.merge is not None and (ok or policy.merge_when_failed == "successful"):
            value = await merged_result(group.merge, branch_results, context)
            branch = context.fork()
            branch.data[group.merge.output or group.id] = value
            context.apply(branch.delta())
    except OrchestrationError as refused:
        error = error_info(refused)
    except asyncio.CancelledError:
        return NodeResult("cancelled", reason="stopped", transient=True)
    if error is not None:
        return NodeResult("failed", error=error)
    if ok:
        if race:
            state.lost += [scope.path(children[i]) for i in failing]
        if failing and not race and policy.run_when_failed == "failed":
            state.fails_run.append(scope.path(group))
        if failing and not race:
            logger.warning("Partial success: %d/%d handlers succeeded", len(succeeded), len(counted))
        elif not group.derived:
            logger.info("Parallel step completed successfully: %d handlers executed", len(succeeded))
        return NodeResult("succeeded", value)
    if not failing:  # skipped branches do not count, so that too few may be left
        wanted = policy.success_when
        text = f"{len(succeeded)} of {len(counted)} branches succeeded, and success_when asks for at least "
        text += str(wanted.min if isinstance(wanted, MinSuccess) else wanted)
        logger.error("%s (Step: %s)", text, group.label)
        return NodeResult("failed", error=ErrorInfo("PipelineException", text))
    causes = [i for i in failing if not results[i].stopped] or failing
    first = results[causes[0]]
    message = first.error.message if first.error else first.reason
    if group.derived:
        return first
    transient = all(results[i].transient for i in failing)
    text = failure_summary(len(causes), message)
    logger.error(
        "%s (Step: %s; Failed Handlers: %s; IsTransient: %s)",
        text,
        group.label,
        ", ".join(children[i].label for i in causes),
        str(transient).lower(),
    )
    only_time = all(results[i].status in OUT_OF_TIME for i in failing)
    status: Status = "timed_out" if only_time and scope.time_is_up else "failed"
    return NodeResult(status, error=ErrorInfo("PipelineException", text, transient), transient=transient)
