"""Branches and items side by side: windows, policies, isolation, and the merge in declared order."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias, cast

from flows.access import all_before
from flows.context import Context, read_path
from flows.deltas import Change, Delta
from flows.errors import OrchestrationError
from flows.invoke import error_info
from flows.merge import merge_deltas
from flows.plan import Group, Loop, Node
from flows.policies import Policy, Tolerance
from flows.results import ErrorInfo, Outcome, Status, failure_summary, now
from flows.run_state import NodeResult, RunState, Scope
from flows.strategies import RACES, BranchResult, merge_results, split_items
from flows.windows import Slot, Window

logger = logging.getLogger(__name__)
RunNode: TypeAlias = Callable[[RunState, Node, Context, Scope], Awaitable[NodeResult]]


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
    cancelled = await _all_done(branches)
    results = [result for result in branches.results if result is not None]
    assert len(results) == count, "a branch without a result"
    if cancelled:
        return NodeResult("cancelled", reason=branches.reason or "stopped", transient=True)
    return _conclude(state, group, context, scope, branches, results, race)


async def _enter(
    state: RunState, group: Group, branches: _Branches, position: int, scope: Scope, slot: Slot
) -> NodeResult | None:
    """Wait for what a branch depends on and for its place in the window; a result if it will never start."""
    child = group.children[position]
    try:
        async with asyncio.timeout_at(scope.deadline):
            for earlier in sorted(group.after[position]) if group.after else ():
                await branches.ended[earlier].wait()
            failed = next((i for i in _waits(group, position) if not cast(NodeResult, branches.results[i]).ok), None)
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


def _waits(group: Group, position: int) -> list[int]:
    return sorted(group.after[position]) if group.after else []


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
    elif not result.ok and result.status != "cancelled" and not race and group.policy.on_branch_failure != "continue":
        if branches.stopped_at is None or (group.derived and position < branches.stopped_at):
            branches.stopped_at, branches.reason = position, f"{label} {result.status}"
        if group.policy.on_branch_failure == "cancel":
            _cancel_others(branches, position)


def _cancel_others(branches: _Branches, position: int) -> None:
    for other, task in enumerate(branches.tasks):
        if other != position and not branches.ended[other].is_set():
            task.cancel()


async def _all_done(branches: _Branches) -> bool:
    """Wait for all branches; when this group itself is cancelled, cancel them and say so."""
    cancelled = False
    pending: set[asyncio.Task[None]] = set(branches.tasks)
    while pending:
        try:
            _, pending = await asyncio.wait(pending)
        except asyncio.CancelledError:
            cancelled = True
            branches.reason = branches.reason or "stopped"
            for task in pending:
                task.cancel()
    for task in branches.tasks:
        if not task.cancelled():
            task.result()
    return cancelled


def _shares(group: Group, context: Context) -> list[list[Any]] | None:
    if group.split is None:
        return None
    items = read_path(context.fork(), group.split.over)
    if not isinstance(items, (list, tuple)):
        kind = type(items).__name__
        raise OrchestrationError(f"{group.id}: split goes over {group.split.over!r}, which is a {kind}, not a list")
    shared = cast("Sequence[Any]", items)
    return split_items(group.split.strategy, shared, len(group.children), group.split.options)


def _conclude(
    state: RunState, group: Group, context: Context, scope: Scope, branches: _Branches, results: list[NodeResult],
    race: bool,
) -> NodeResult:  # fmt: skip
    """Judge the group by its policy, merge, and make its named result."""
    children = group.children
    policy = Policy(success_when="any", merge_when_failed="successful") if race else group.policy
    counted = [result for result in results if result.status != "skipped"] if not group.derived else results
    succeeded = [i for i, result in enumerate(results) if result.status == "succeeded"]
    failing = [i for i, result in enumerate(results) if not result.ok]
    ok = policy.satisfied(len(succeeded), len(counted)) if not group.derived else not failing
    if group.derived:
        merged = [i for i in succeeded if not failing or i < failing[0]]
    elif not failing or policy.merge_when_failed == "successful":
        merged = succeeded
    else:
        merged = []
    branch_results = [
        BranchResult(children[i].label, result.status == "succeeded", result.value,
                     result.error.message if result.error else result.reason or None,
                     quality=result.quality, finished=branches.finished[i])
        for i, result in enumerate(results) if result.status != "skipped"
    ]  # fmt: skip
    state.groups[group.id] = branch_results
    error: ErrorInfo | None = None
    value: Any = None
    try:
        if merged:
            logger.debug("Merging %d isolated contexts back into main context", len(merged))
            before = [all_before(group.after, i) for i in range(len(children))]
            merge_deltas(
                context,
                [(children[i].id if len({c.label for c in children}) < len(children) else children[i].label,
                  branches.deltas[i]) for i in merged],
                reducers=group.reducers,
                ordered=lambda first, second: merged[first] in before[merged[second]],
            )  # fmt: skip
        if group.merge is not None and (ok or policy.merge_when_failed == "successful"):
            value = merge_results(group.merge.strategy, branch_results, group.merge.options)
            branch = context.fork()
            branch.data[group.merge.output or group.id] = value
            context.apply(branch.delta())
    except OrchestrationError as refused:
        error = error_info(refused)
    if error is not None:
        return NodeResult("failed", error=error)
    if ok:
        if failing and not race:
            logger.warning("Partial success: %d/%d handlers succeeded", len(succeeded), len(counted))
        elif not group.derived:
            logger.info("Parallel step completed successfully: %d handlers executed", len(succeeded))
        return NodeResult("succeeded", value)
    causes = [i for i in failing if results[i].status != "cancelled"] or failing
    first = results[causes[0]]
    message = first.error.message if first.error else first.reason
    if group.derived:
        return first
    transient = all(results[i].transient for i in failing)
    text = failure_summary(len(causes), message)
    logger.error("%s (Step: %s; Failed Handlers: %s; IsTransient: %s)", text, group.label,
                 ", ".join(children[i].label for i in causes), str(transient).lower())  # fmt: skip
    only_time = all(results[i].status in ("timed_out", "abandoned", "cancelled") for i in failing)
    status: Status = "timed_out" if only_time and scope.deadline is not None else "failed"
    return NodeResult(status, error=ErrorInfo("PipelineException", text, transient), transient=transient)


async def run_loop(state: RunState, loop: Loop, context: Context, scope: Scope, run_node: RunNode) -> NodeResult:
    """Run the body for every item or batch; a worker takes one to its end before it takes the next."""
    try:
        items = read_path(context.fork(), loop.over)
        if not isinstance(items, (list, tuple)):
            raise OrchestrationError(
                f"{loop.id} goes over {loop.over!r}, which is a {type(items).__name__}, not a list"
            )
        listed = cast("Sequence[Any]", items)
        if len(listed) > loop.max_items:
            raise OrchestrationError(
                f"{loop.id}: {loop.over!r} has {len(listed)} items, more than max_items: {loop.max_items}; "
                "raise it if that is meant"
            )
    except OrchestrationError as error:
        return NodeResult("failed", error=error_info(error))
    size = loop.batch_size
    batches = list(listed) if size is None else [tuple(listed[i : i + size]) for i in range(0, len(listed), size)]
    state.observer.loop_started(scope.path(loop), scope.name(loop), len(batches))
    items_state = _Items(loop, context, scope, len(batches))
    waiting = iter(enumerate(batches))

    async def work() -> None:
        for position, batch in waiting:
            if items_state.reason:
                items_state.never(state, position)
                continue
            await items_state.run(state, position, batch, run_node)

    workers = min(len(batches), loop.limit.value or len(batches))
    group = _Branches([], [], [], [])
    group.tasks = [asyncio.ensure_future(work()) for _ in range(workers)]
    cancelled = await _all_done(group)
    for position in range(len(batches)):
        items_state.never(state, position, "stopped")
    if cancelled:
        return NodeResult("cancelled", reason="stopped", transient=True)
    return items_state.conclude(state)


class _Items:
    """The items of one loop: their deltas and results, without what they kept to themselves."""

    def __init__(self, loop: Loop, context: Context, scope: Scope, count: int) -> None:
        self.loop, self.context, self.scope = loop, context, scope
        self.results: list[NodeResult | None] = [None] * count
        self.deltas: list[Delta] = [()] * count
        self.collected: list[dict[str, Any]] = [{} for _ in range(count)]
        self.reason = ""

    def _scope(self, position: int) -> Scope:
        path = self.scope.path(self.loop)
        return replace(self.scope, prefix=f"{path}[{position}]", strip=len(self.loop.path),
                       item=f"{self.scope.item}[{position}]")  # fmt: skip

    async def run(self, state: RunState, position: int, batch: Any, run_node: RunNode) -> None:
        scope, clock = self._scope(position), asyncio.get_running_loop()
        started, began = now(), clock.time()
        base = self.context.fork()
        base.data[self.loop.item_name] = batch
        branch = base.fork()
        result = await run_node(state, self.loop.body, branch, replace(scope, slot=Slot(Window(None))))
        if result.ok:
            view = branch.fork()
            self.collected[position] = {name: view.data[name] for name in self.loop.collect if name in view.data}
            self.deltas[position] = tuple(change for change in branch.delta() if self._leaves(change))
        self.results[position] = result
        state.record(
            Outcome(f"{self.scope.path(self.loop)}[{position}]", scope.name(self.loop), "item", result.status, started,
                    clock.time() - began, 1, reason=result.reason or (result.error.message if result.error else ""))
        )  # fmt: skip
        failed = sum(1 for ended in self.results if ended is not None and not ended.ok)
        tolerance = self.loop.tolerated or Tolerance()
        if not result.ok and tolerance.exceeded(failed, len(self.results)):
            self.reason = self.reason or f"exceeded_tolerance: {failed} of {len(self.results)} items failed"

    def never(self, state: RunState, position: int, reason: str = "") -> None:
        """Give an item that never started its outcome."""
        path = f"{self.scope.path(self.loop)}[{position}]"
        if path not in state.outcomes:
            why = self.reason or reason
            state.record(Outcome(path, self._scope(position).name(self.loop), "item", "cancelled", reason=why))
            self.results[position] = NodeResult("cancelled", reason=why, transient=True)

    def _leaves(self, change: Change) -> bool:
        """Fields without a reducer stay with their item; else all items would write the same ones."""
        return change.path[0] != "data" or change.path[1] in self.loop.reducers

    def conclude(self, state: RunState) -> NodeResult:
        """Merge the items in their order; fail if more of them failed than may."""
        results = [result for result in self.results if result is not None]
        failed = [result for result in results if not result.ok and result.status != "cancelled"]
        if self.reason:
            first = next((result.error.message for result in failed if result.error), "")
            text = f"{self.reason}. First failure: {first}"
            transient = all(result.transient for result in failed)
            return NodeResult("failed", error=ErrorInfo("PipelineException", text, transient), transient=transient)
        try:
            merge_deltas(
                self.context,
                [(f"{self.loop.id}[{i}]", delta) for i, delta in enumerate(self.deltas) if delta],
                reducers=self.loop.reducers,
            )
            branch = self.context.fork()
            for name, target in self.loop.collect.items():
                branch.data[target] = [values[name] for values in self.collected if name in values]
            self.context.apply(branch.delta())
        except OrchestrationError as error:
            return NodeResult("failed", error=error_info(error))
        return NodeResult("succeeded")
