"""Runs one handler step: makes the call, applies its result to the branch's context, and records the outcome."""

from dataclasses import replace

from flows.author import Ending, Outcome, error_info, now
from flows.calling import BOOKKEEPING, CallKey, LeafCall
from flows.engine.events import AttemptFinished, StepStarted
from flows.engine.run_state import NodeResult, RunState, Scope, UndoableCall
from flows.engine.wording import group_wording
from flows.errors import OrchestrationError
from flows.planning import Leaf
from flows.state import Context


async def run_step(state: RunState, node: Leaf, context: Context, scope: Scope) -> NodeResult:
    """Run one step; its writes are in the context afterwards."""
    path, name = scope.path(node), scope.name(node)
    if not state.limits.budget.may_start(node.spec.name):
        return state.never_started(node, scope, "cancelled", state.limits.budget.refusal)
    call = LeafCall(
        node,
        path,
        name,
        context,
        deadline=scope.deadline,
        slot=scope.slot,
        windows=scope.windows,
        limits=state.limits,
        key=_call_key(state, node, scope),
        attempted=lambda attempt: state.observe(AttemptFinished(path, name, attempt)),
        cluster=state.cluster,
    )
    progress, times, asked = call.progress, call.progress.times, now()
    times.wait_for(BOOKKEEPING)
    state.observe(StepStarted(path, name, lambda: times.waits_for))
    state.limits.retries.calls += 1
    if state.watch is not None:
        state.watch.add(call)
    ended = await state.run_leaf(call)
    if state.watch is not None:
        state.watch.remove(call)
    times.end()
    ending, result, status = ended.ending, ended.result, ended.ending.status
    error = ending.failure
    reason = _stop_reason(ending)
    if result is not None:
        if node.spec.undo is not None:
            state.undoable.append(UndoableCall(replace(call, context=_read_part(node, context)), result))
        try:
            context.apply(result.delta)
            context.set_aside((each.item, each) for each in progress.call.failures)
        except OrchestrationError as refused:  # a value that a context cannot hold
            status, error = "failed", error_info(refused)
    if error is not None:
        error = group_wording(state.plan.dialect).step_failed(node, error)
    if status == "succeeded":
        context.progress_view.mark_handler_complete(node.spec.name)
    state.record(
        Outcome(
            path=path,
            id=name,
            kind="step",
            status=status,
            started=progress.started,
            seconds=times.work_s if progress.seconds is None else progress.seconds,
            waits={} if ended.reused else dict(times.waits),
            asked=None if ended.reused else asked,
            tries=tuple(progress.tries),
            attempts=progress.attempts,
            cost=dict(progress.costs),
            error=error,
            reason=reason,
            failures=tuple(progress.call.failures),
            reused=ended.reused,
            items=() if ended.reused or status != "succeeded" else tuple(progress.call.items),
        )
    )
    return NodeResult(
        status,
        value=result.value if result else None,
        quality=result.quality if result else None,
        error=error,
        # A stopped step does not decide whether the enclosing group may be tried again.
        transient=ending.stopped or (error is not None and error.transient),
        reason=reason,
    )


def _stop_reason(ending: Ending) -> str:
    """The reason in the outcome of a call that was stopped or refused; empty for any other."""
    if ending.refused:
        return str(ending.error)
    if not ending.stopped:
        return ""
    return (
        "stopped, but its thread goes on; its late result will be dropped"
        if ending.status == "abandoned"
        else "stopped"
    )


def _call_key(state: RunState, node: Leaf, scope: Scope) -> CallKey | None:
    """The key under which a call's result is kept; None if the journal keeps nothing."""
    fingerprint = state.fingerprints.get(node.id)
    if fingerprint is None:
        return None
    publisher = fingerprint.published_by
    published_by = CallKey(publisher + scope.key, state.fingerprints[publisher]) if publisher is not None else None
    return CallKey(node.id + scope.key, fingerprint, published_by)


def _read_part(node: Leaf, context: Context) -> Context:
    """A snapshot of the fields that a handler reads; its undo gets them even if the context changes later."""
    names = list(context.data) if node.spec.takes_context else [n for n in node.reads.values() if n in context.data]
    return Context({name: context.field_value("data", name) for name in names}, identity=context.identity)
