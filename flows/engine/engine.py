"""Walk a plan: who runs when, in whose isolation, and what comes of it; knows nothing of Prefect.

It is generic over one function, `run_leaf(call) -> LeafResult`; everything else is the same whether the leaves are
Prefect task runs or plain calls, so both give the same outcomes and the same final state.
"""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, assert_never

from flows.author import BranchResult, Ending, ErrorInfo, Outcome, RunResult, RunStatus, error_info, now
from flows.calling import LeafCall, RunLeaf, open_cluster
from flows.engine.events import AttemptFinished, RunFinished, RunStarted, StepStarted
from flows.engine.groups import merged_result, run_group
from flows.engine.inline import run_leaf as run_inline
from flows.engine.journal import journaled
from flows.engine.loops import run_loop
from flows.engine.prepared import Prepared
from flows.engine.run_state import NodeResult, RunState, Scope, Undoable, expire, inside, kind_of
from flows.engine.stuck import Expected, StuckWatch
from flows.errors import OrchestrationError
from flows.limits import (
    Admission,
    Budget,
    SharedSeats,
    Window,
    more_budget,
    process_resources,
    warn_of_what_is_not_shared,
)
from flows.model import RetryCount, evaluate_condition, render
from flows.planning import Chain, Choice, FanIn, Group, Leaf, Loop, Node, Sub, step_fingerprints
from flows.state import Context, Progress, read_path

logger = logging.getLogger(__name__)


async def run_plan(
    prepared: Prepared, *, run_leaf: RunLeaf = run_inline, seats: SharedSeats | None = None
) -> RunResult:
    """Run a plan on its context, which is changed; the result has one outcome for every step, branch and item declared.

    What the journal has of earlier runs is taken over, and what succeeds is kept in it. `seats` counts the calls at
    once that resources share with other processes; without it, they are counted in this one, for all its runs. A failed
    run is a result, not an exception. When the caller is cancelled, what runs is stopped, its outcomes are recorded,
    and the cancellation goes on.
    """
    plan, context, journal = prepared.plan, prepared.context, prepared.journal
    state = RunState(
        plan,
        journaled(run_leaf, journal),
        prepared.observer,
        run_id=context.execution_id,
        turns=Admission(plan.all_resources, process_resources(), seats, prepared.rates),
        retries=RetryCount(plan.retry_budget),
        calls=Window(plan.limit.value),
        meter=Budget(plan.budget, spent=prepared.spent),
        fingerprints=step_fingerprints(plan, context.fingerprint()) if journal.active else {},
        journal=journal,
        cluster=await open_cluster(plan),
    )
    started, loop = now(), asyncio.get_running_loop()
    began = loop.time()
    warn_of_what_is_not_shared(state.turns)
    context.progress_view = Progress(plan.pipeline.steps)
    state.observe(RunStarted(plan, context.execution_id))
    scope = Scope(deadline=expire(None, plan.pipeline.timeout_s))
    watching = _watch(state, prepared.expected)
    # In a task of its own: its cancellation is ours to turn into outcomes, the caller's is not ours to swallow.
    walk = asyncio.ensure_future(run_node(state, plan.root, context, scope))
    try:
        result = await asyncio.shield(walk)
    except BaseException as error:
        if isinstance(error, asyncio.CancelledError):
            walk.cancel()
            await walk
        state.observe(RunFinished(None))
        raise
    finally:
        if watching is not None:
            watching.cancel()
        if state.cluster is not None:
            await state.cluster.close()
    outcomes = state.in_order()
    ended = RunResult(
        pipeline=plan.pipeline.name,
        run_id=context.execution_id,
        status="failed" if state.meter.refusal else _run_status(result, state),
        outcomes=outcomes,
        context=context,
        started=started,
        seconds=loop.time() - began,
        transient=result.transient and not state.meter.refusal,
        stopped=_stopped(state, outcomes),
        late_cost=dict(state.meter.late),
    )
    state.observe(RunFinished(ended))
    return ended


def _watch(state: RunState, expected: Expected | None) -> "asyncio.Task[None] | None":
    if expected is None:
        return None
    state.watch = StuckWatch(expected, state.observe)
    return asyncio.ensure_future(state.watch.forever())


def _stopped(state: RunState, outcomes: tuple[Outcome, ...]) -> str:
    """Why a run that used up its budget ended, and how to go on; empty if it did not."""
    meter = state.meter
    if not meter.refusal:
        return ""
    missed = sum(1 for outcome in outcomes if outcome.is_leaf and outcome.reason == meter.refusal)
    more = " ".join(
        f"--budget {unit}={amount:g}" for unit, amount in more_budget(meter.budget, meter.refusal, meter.used).items()
    )
    return f"{meter.refusal}; {missed} step(s) not started. Go on with: braid resume {state.run_id} {more}"


def _run_status(result: NodeResult, state: RunState) -> RunStatus:
    if not result.ok:
        return "failed"
    # What a racer that lost did not bring is missing nowhere.
    counted = [one for one in state.outcomes.values() if not any(one.path.inside(path) for path in state.lost)]
    if any(outcome.path in state.fails_run for outcome in counted):
        return "failed"
    # A branch that had no time to start has no error of its own, and what was only stopped is no failure.
    incomplete = any(
        outcome.error is not None or outcome.failures or outcome.status in ("failed", "timed_out")
        for outcome in counted
    )
    return "partial" if incomplete else "succeeded"


async def run_node(state: RunState, node: Node, context: Context, scope: Scope) -> NodeResult:
    """Run one node on its branch's context and record its outcome."""
    if state.meter.refusal:
        return state.never_started(node, scope, "cancelled", state.meter.refusal)
    if not node.enabled:
        return state.never_started(node, scope, "skipped", "not enabled")
    if node.when is not None:
        try:
            if not evaluate_condition(node.when, context.fork().data):
                return state.never_started(node, scope, "skipped", f"when: {node.when}")
        except OrchestrationError as error:
            return _refused(state, node, scope, error)
    started, loop = now(), asyncio.get_running_loop()
    began = loop.time()
    scope = scope.until(expire(None, node.timeout_s))
    match node:
        case Leaf():
            return await _leaf(state, node, context, scope)
        case Chain():
            result = await _chain(state, node, context, scope)
        case Group():
            result = await run_group(state, node, context, scope, run_node)
        case Loop():
            result = await run_loop(state, node, context, scope, run_node)
        case Choice():
            result = await _choice(state, node, context, scope)
        case Sub():
            result = await _sub(state, node, context, scope)
        case FanIn():
            result = await _fan_in(state, node, context)
        case _:
            assert_never(node)
    if not result.ok and state.only_refused(scope.path(node)):
        result = NodeResult("cancelled", reason=state.meter.refusal)
    kind = kind_of(node)
    if kind is not None:
        state.record(
            Outcome(
                path=scope.path(node),
                id=scope.name(node),
                kind=kind,
                status=result.status,
                started=started,
                seconds=loop.time() - began,
                attempts=1,
                error=None if result.ok else result.error,
                reason=result.reason or (result.error.message if result.error and kind != "step" else ""),
            )
        )
    return result


async def _leaf(state: RunState, node: Leaf, context: Context, scope: Scope) -> NodeResult:
    path, name = scope.path(node), scope.name(node)
    if not state.meter.may_start(node.spec.name):
        return state.never_started(node, scope, "cancelled", state.meter.refusal)
    state.observe(StepStarted(path, name))
    call = LeafCall(
        node,
        path,
        name,
        context,
        scope.deadline,
        (state.calls,),
        scope.slot,
        item=scope.item or None,
        meter=state.meter,
        key=node.id + scope.key,
        tried=lambda tried: state.observe(AttemptFinished(path, name, tried)),
        turn=(lambda: state.turns.hold(node.uses, expected_tokens=node.expected_tokens)) if node.uses else None,
        retries=state.retries,
        cluster=state.cluster,
    )
    state.retries.calls += 1
    if node.id in state.fingerprints:
        fingerprint = state.fingerprints[node.id]
        call.chained_fingerprint, call.own_fingerprint = fingerprint.chained, fingerprint.own
        if fingerprint.published_by is not None:
            published = state.fingerprints[fingerprint.published_by]
            call.published = (fingerprint.published_by + scope.key, published.chained)
    loop = asyncio.get_running_loop()
    began = loop.time()
    if state.watch is not None:
        state.watch.add(call)
    ended = await state.run_leaf(call)
    if state.watch is not None:
        state.watch.remove(call)
    ending, result, status = ended.ending, ended.result, ended.ending.status
    error = ending.failure
    reason = _why_stopped(ending)
    if result is not None:
        if node.spec.undo is not None:
            state.undoable.append(Undoable(replace(call, context=_seen(node, context)), result))
        try:
            context.apply(result.delta)
            context.set_aside((each.item, each) for each in call.call.failures)
        except OrchestrationError as refused:  # a value that a context cannot hold
            status, error = "failed", error_info(refused)
    if status == "succeeded":
        context.progress_view.mark_handler_complete(node.spec.name)
    state.record(
        Outcome(
            path=path,
            id=name,
            kind="step",
            status=status,
            started=call.started,
            seconds=_seconds(call, loop.time() - began),
            attempts=call.attempts,
            cost=dict(call.costs),
            error=error,
            reason=reason,
            failures=tuple(call.call.failures),
            reused=ended.reused,
            items=() if ended.reused or status != "succeeded" else tuple(call.call.items),
        )
    )
    return NodeResult(
        status,
        result.value if result else None,
        result.quality if result else None,
        error,
        # A step that was stopped says nothing about whether the group around it may be tried again.
        transient=ending.stopped or (error is not None and error.transient),
        started=call.started,
        reason=reason,
    )


def _why_stopped(ending: Ending) -> str:
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


def _seconds(call: LeafCall, taken: float) -> float:
    if call.seconds is not None:  # of the run that it was taken over from
        return call.seconds
    return taken if call.started else 0.0


def _seen(node: Leaf, context: Context) -> Context:
    """What a handler has read, kept apart from what happens to the context later, for its undo."""
    names = list(context.data) if node.spec.takes_context else [n for n in node.reads.values() if n in context.data]
    return Context({name: context.field_value("data", name) for name in names}, identity=context.identity)


async def _chain(state: RunState, node: Chain, context: Context, scope: Scope) -> NodeResult:
    result = NodeResult("succeeded")
    for position, child in enumerate(node.children):
        result = await run_node(state, child, context, scope)
        if not result.ok:
            stopped = result.stopped
            for rest in node.children[position + 1 :]:
                state.never_started(
                    rest,
                    scope,
                    "cancelled" if stopped else "skipped",
                    result.reason if stopped else f"{child.label} {result.status}",
                )
            return result
        if not node.path and not scope.run_path:
            context.progress_view.move_to_next_step()
    return replace(result, status="succeeded")


async def _choice(state: RunState, node: Choice, context: Context, scope: Scope) -> NodeResult:
    chosen: NodeResult | None = None
    for condition, case in node.cases:
        holds = chosen is None
        if holds and condition is not None:
            try:
                holds = evaluate_condition(condition, context.fork().data)
            except OrchestrationError as error:
                chosen = NodeResult("failed", error=error_info(error))
                holds = False
        if holds:
            chosen = await run_node(state, case, context, scope)
        else:
            state.never_started(case, scope, "skipped", "another case was chosen")
    return chosen or NodeResult("succeeded", reason="no case holds")


async def _sub(state: RunState, node: Sub, context: Context, scope: Scope) -> NodeResult:
    inner = context.fork()
    try:
        given: Mapping[str, Any] = render(dict(node.parameters), context.fork().data)
        defaults = {
            name: parameter.default
            for name, parameter in node.plan.pipeline.parameters.items()
            if name not in inner.data and (parameter.default is not None or not parameter.required)
        }
    except OrchestrationError as error:
        return _refused_inside(state, node, scope, error)
    private = context.fork()
    for name, value in {**defaults, **given}.items():
        private.data[name] = value
    branch = private.fork()
    until = expire(None, node.plan.pipeline.timeout_s)
    result = await run_node(state, node.plan.root, branch, inside(node, scope).until(until))
    context.apply(branch.delta())
    return result


async def _fan_in(state: RunState, node: FanIn, context: Context) -> NodeResult:
    try:
        if node.group is not None:
            if node.group not in state.groups:
                raise OrchestrationError(f"{node.id}: the group {node.group!r} has not run")
            results = state.groups[node.group]
        else:
            view = context.fork()
            results = [BranchResult(name, True, read_path(view, name)) for name in node.inputs]
        value = await merged_result(node.merge, results, context)
        branch = context.fork()
        branch.data[node.merge.output or node.id] = value
        context.apply(branch.delta())
    except OrchestrationError as error:
        return NodeResult("failed", error=error_info(error))
    except asyncio.CancelledError:
        return NodeResult("cancelled", reason="stopped", transient=True)
    return NodeResult("succeeded", value)


def _refused(state: RunState, node: Node, scope: Scope, error: OrchestrationError) -> NodeResult:
    """A node whose condition cannot be evaluated has failed; what is in it never starts."""
    info = error_info(error)
    kind = kind_of(node)
    if kind is not None:
        state.record(Outcome(path=scope.path(node), id=scope.name(node), kind=kind, status="failed", error=info))
    return _refused_inside(state, node, scope, error)


def _refused_inside(state: RunState, node: Node, scope: Scope, error: OrchestrationError) -> NodeResult:
    from flows.planning import node_children

    info: ErrorInfo = error_info(error)
    for child in () if isinstance(node, Loop) else node_children(node):
        state.never_started(child, inside(node, scope), "skipped", info.message)
    return NodeResult("failed", error=info)
