"""Runs the items of a loop: they begin in order as slots become free, and are merged in order."""

import asyncio
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

from flows.author import ErrorInfo, Outcome, Status, error_info, now
from flows.engine.batching import BatchSize, choose_batch_size
from flows.engine.events import LoopStarted
from flows.engine.run_state import OUT_OF_TIME, NodeResult, RunNode, RunState, Scope
from flows.errors import OrchestrationError
from flows.limits import Slot, Window
from flows.model import StepPath, Tolerance
from flows.planning import Loop
from flows.state import Change, Context, Delta, ExternalSequence, fingerprint, merge_deltas, read_path

logger = logging.getLogger(__name__)
DEFAULT_AT_ONCE = 8
"""The number of parallel batches assumed for choosing the batch size, if no limit is set."""
MOST_WAITING = 256
"""How many items of one loop may wait for a retry besides the running ones; beyond that, no new item begins."""


async def run_loop(state: RunState, loop: Loop, context: Context, scope: Scope, run_node: RunNode) -> NodeResult:
    """Run the body for every item or batch; each keeps its slot, except while it waits to be tried again."""
    try:
        items = read_path(context.fork(), loop.over)
        if not isinstance(items, (list, tuple, ExternalSequence)):
            raise OrchestrationError(
                f"{loop.id} loops over {loop.over!r}, which is a {type(items).__name__}, not a list"
            )
        listed = cast("Sequence[Any]", items)
        if len(listed) > loop.max_items:
            raise OrchestrationError(
                f"{loop.id}: {loop.over!r} has {len(listed)} items, more than max_items: {loop.max_items}; "
                "raise it if that is meant"
            )
    except OrchestrationError as error:
        return NodeResult("failed", error=error_info(error))
    size, chosen = _batch_size(state, loop, scope.path(loop), len(listed))
    batches = _Batches(listed, size)
    elements = _elements(listed, size)
    state.observe(LoopStarted(scope.path(loop), scope.name(loop), len(batches), size, chosen, elements))
    items_state = _Items(loop, context, scope, len(batches), _ItemKeys() if state.journal.active else None)
    cancelled = await _run_in_window(state, items_state, batches, run_node)
    for position in range(len(batches)):
        items_state.record_never_started(state, position, "stopped")
    if cancelled:
        return NodeResult("cancelled", reason="stopped", transient=True)
    return items_state.conclude(state)


def _batch_size(state: RunState, loop: Loop, path: StepPath, count: int) -> tuple[int | None, str]:
    """The batch size and its reason, for a loop with `batch_size: auto`; a resumed run keeps the recorded size."""
    if loop.batch_size != "auto":
        return loop.batch_size, ""
    kept = state.journal.batch_sizes.get(path)
    if kept is not None:
        chosen = BatchSize(kept, "as before")
    else:
        limits = [limit for limit in (loop.limit.value, state.plan.limit.value) if limit is not None]
        at_once = min(limits, default=DEFAULT_AT_ONCE)
        chosen = choose_batch_size(count, at_once=at_once, item_s=state.item_seconds.get(path.plain))
        state.journal.batch_sizes[path] = chosen.items
    logger.info("%s: batches of %d of %d items: %s", loop.id, chosen.items, count, chosen.reason)
    return chosen.items, chosen.reason


def _elements(listed: Sequence[Any], batch_size: int | None) -> int | None:
    """The number of elements in all batches; None if counting would read every batch from disk."""
    if batch_size is not None:
        return len(listed)
    if isinstance(listed, ExternalSequence):
        return None
    return sum(len(cast("Sequence[Any]", each)) if isinstance(each, (list, tuple)) else 1 for each in listed)


class _Batches:
    """The items or batches of a list, each made when it is asked for."""

    def __init__(self, listed: Sequence[Any], size: int | None) -> None:
        self._listed, self._size = listed, size

    def __len__(self) -> int:
        return -(-len(self._listed) // (self._size or 1))

    def __getitem__(self, position: int) -> Any:
        if self._size is None:
            return self._listed[position]
        return tuple(self._listed[position * self._size : (position + 1) * self._size])


async def _run_in_window(state: RunState, items: "_Items", batches: _Batches, run_node: RunNode) -> bool:
    """Begin the items in order, one per free slot; return whether the loop was cancelled."""
    limit = items.loop.limit.value
    window = Window(limit)
    # Items that wait for a retry hold no slot but keep their results in memory, so their number must be limited.
    begun = Window(None if limit is None else limit + MOST_WAITING)

    async def work(position: int, batch: Any, slot: Slot) -> None:
        # Prepare items in order, because the order in which equal items begin distinguishes them.
        key = items.keys.of(batch) if items.keys is not None else ""
        await items.run(state, position, batch, key, run_node, slot)
        slot.let_go()
        begun.release()

    try:
        async with asyncio.TaskGroup() as running:
            for position in range(len(batches)):
                slot = Slot(window)
                await begun.acquire()
                await slot.hold()
                if items.reason or state.limits.budget.refusal:
                    slot.let_go()  # an item that waits for its retry needs the slot
                    break
                running.create_task(work(position, batches[position], slot))
    except asyncio.CancelledError:
        return True
    return False


class _Items:
    """The items of one loop: their results, and the part of their deltas that leaves the loop."""

    def __init__(self, loop: Loop, context: Context, scope: Scope, count: int, keys: "_ItemKeys | None") -> None:
        self.loop, self.context, self.scope, self.keys = loop, context, scope, keys
        self.results: list[NodeResult | None] = [None] * count
        self.deltas: list[Delta] = [()] * count
        self.collected: list[dict[str, Any]] = [{} for _ in range(count)]
        self.reason = ""
        self.failed = 0

    def _scope(self, position: int, key: str = "") -> Scope:
        path = self.scope.path(self.loop)
        return replace(
            self.scope,
            start=self.loop.path,
            run_path=path.of_item(position),
            item=f"{self.scope.item}[{position}]",
            key=f"{self.scope.key}[{key}]" if key else "",
            groups=self.scope.groups.new_child(),
        )

    async def run(self, state: RunState, position: int, batch: Any, key: str, run_node: RunNode, slot: Slot) -> None:
        scope, clock = self._scope(position, key), asyncio.get_running_loop()
        started, began = now(), clock.time()
        base = self.context.fork()
        base.data[self.loop.item_name] = batch
        branch = base.fork()
        result = await run_node(state, self.loop.body, branch, replace(scope, slot=slot))
        if result.ok:
            present = branch.fork().present
            self.collected[position] = {name: present[name] for name in self.loop.collect if name in present}
            self.deltas[position] = tuple(change for change in branch.delta() if self._leaves(change))
        self.results[position] = replace(result, value=None)  # the delta has everything that is still needed
        state.record(
            Outcome(
                path=self.scope.path(self.loop).of_item(position),
                id=scope.name(self.loop),
                kind="item",
                status=result.status,
                started=started,
                seconds=clock.time() - began,
                attempts=1,
                error=None if result.ok else result.error,
                reason=result.reason or (result.error.message if result.error else ""),
                size=len(cast("Sequence[Any]", batch)) if isinstance(batch, (list, tuple)) else 1,
            )
        )
        self.failed += not result.ok and not self._refused(state, result)
        tolerance = self.loop.tolerated or Tolerance()
        if not result.ok and tolerance.exceeded(self.failed, len(self.results)):
            self.reason = self.reason or f"exceeded_tolerance: {self.failed} of {len(self.results)} items failed"

    def _refused(self, state: RunState, result: NodeResult) -> bool:
        """Whether an item was stopped because the run's budget is used up (and has not failed by itself)."""
        return bool(state.limits.budget.refusal) and result.reason == state.limits.budget.refusal

    def record_never_started(self, state: RunState, position: int, reason: str = "") -> None:
        """Record the outcome of an item that never started."""
        path = self.scope.path(self.loop).of_item(position)
        if path not in state.outcomes:
            why = self.reason or state.limits.budget.refusal or reason
            state.record(
                Outcome(
                    path=path, id=self._scope(position).name(self.loop), kind="item", status="cancelled", reason=why
                )
            )
            self.results[position] = NodeResult("cancelled", reason=why, transient=True)

    def _leaves(self, change: Change) -> bool:
        """Whether a change leaves the loop. Fields without a reducer stay inside their item, else all items would
        conflict.

        Records of items set aside stay inside too, because another loop may use the same names.
        """
        section, key = change.path[:2]
        return section != "aside" and (section != "data" or key in self.loop.reducers)

    def conclude(self, state: RunState) -> NodeResult:
        """Merge the items in their order; fail if more of them failed than may."""
        results = [result for result in self.results if result is not None]
        failed = [result for result in results if not result.ok and result.status != "cancelled"]
        if self.reason:
            first = next((result.error.message for result in failed if result.error), "")
            text = f"{self.reason}. First failure: {first}"
            transient = all(result.transient for result in failed)
            only_time = all(result.status in OUT_OF_TIME for result in failed)
            status: Status = "timed_out" if only_time and self.scope.time_is_up else "failed"
            return NodeResult(status, error=ErrorInfo("PipelineException", text, transient), transient=transient)
        if any(self._refused(state, result) for result in results):
            return NodeResult("cancelled", reason=state.limits.budget.refusal)
        if failed and self.loop.tolerated is not None and self.loop.tolerated.run_when_failed == "failed":
            state.fails_run.append(self.scope.path(self.loop))
        try:
            merge_deltas(
                self.context,
                [(f"{self.loop.id}[{i}]", delta) for i, delta in enumerate(self.deltas) if delta],
                reducers=self.loop.reducers,
            )
            branch = self.context.fork()
            for name, target in self.loop.collect.items():
                left_out = self.loop.collect_missing == "leave_out"
                branch.data[target] = [values.get(name) for values in self.collected if name in values or not left_out]
            self.context.apply(branch.delta())
        except OrchestrationError as error:
            return NodeResult("failed", error=error_info(error))
        return NodeResult("succeeded")


class _ItemKeys:
    """Keys that identify the same batches in another run: the content, and a number to tell equal batches apart."""

    def __init__(self) -> None:
        self._counted: Counter[str] = Counter()

    def of(self, batch: Any) -> str:
        content = fingerprint(batch)[:16]
        before = self._counted[content]
        self._counted[content] += 1
        return f"{content}.{before}" if before else content
