"""Walk the nodes of a plan, each on its branch's context: conditions, lists, switches, sub-pipelines and fan-ins."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, assert_never

from flows.author import BranchResult, Outcome, error_info, now
from flows.engine.groups import merged_result, run_group
from flows.engine.leaves import run_step
from flows.engine.loops import run_loop
from flows.engine.run_state import NodeResult, RunState, Scope, deadline_after, inside, outcome_kind, stop_is_asked
from flows.errors import OrchestrationError
from flows.model import evaluate_condition, render
from flows.planning import Chain, Choice, FanIn, Group, Leaf, Loop, Node, Sub, node_children
from flows.state import Context, read_path


async def run_node(state: RunState, node: Node, context: Context, scope: Scope) -> NodeResult:
    """Run one node on its branch's context and record its outcome."""
    if state.limits.budget.refusal:
        return state.never_started(node, scope, "cancelled", state.limits.budget.refusal)
    if stop_is_asked():
        return state.never_started(node, scope, "cancelled", "stopped")
    if not node.enabled:
        return state.never_started(node, scope, "skipped", "not enabled")
    if node.when is not None:
        try:
            if not evaluate_condition(node.when, context.fork().present):
                return state.never_started(node, scope, "skipped", f"when: {node.when}")
        except OrchestrationError as error:
            return _fail_unstarted(state, node, scope, error)
    started, loop = now(), asyncio.get_running_loop()
    began = loop.time()
    scope = scope.until(deadline_after(node.timeout_s))
    match node:
        case Leaf():
            return await run_step(state, node, context, scope)
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
            result = await _fan_in(node, context, scope)
        case _:
            assert_never(node)
    if not result.ok and state.only_refused(scope.path(node)):
        result = NodeResult("cancelled", reason=state.limits.budget.refusal)
    kind = outcome_kind(node)
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
                holds = evaluate_condition(condition, context.fork().present)
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
        given: Mapping[str, Any] = render(dict(node.parameters), context.fork().present)
        defaults = {
            name: parameter.default
            for name, parameter in node.plan.pipeline.parameters.items()
            if name not in inner.data and (parameter.default is not None or not parameter.required)
        }
    except OrchestrationError as error:
        return _fail_inside(state, node, scope, error)
    private = context.fork()
    for name, value in {**defaults, **given}.items():
        private.data[name] = value
    branch = private.fork()
    until = deadline_after(node.plan.pipeline.timeout_s)
    result = await run_node(state, node.plan.root, branch, inside(node, scope).until(until))
    context.apply(branch.delta())
    return result


async def _fan_in(node: FanIn, context: Context, scope: Scope) -> NodeResult:
    try:
        if node.group is not None:
            if node.group not in scope.groups:
                raise OrchestrationError(f"{node.id}: the group {node.group!r} has not run")
            results = scope.groups[node.group]
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
    return NodeResult("succeeded", value=value)


def _fail_unstarted(state: RunState, node: Node, scope: Scope, error: OrchestrationError) -> NodeResult:
    """Record a node as failed because its condition cannot be evaluated; the steps inside it never start."""
    info = error_info(error)
    kind = outcome_kind(node)
    if kind is not None:
        state.record(Outcome(path=scope.path(node), id=scope.name(node), kind=kind, status="failed", error=info))
    return _fail_inside(state, node, scope, error)


def _fail_inside(state: RunState, node: Node, scope: Scope, error: OrchestrationError) -> NodeResult:
    info = error_info(error)
    for child in () if isinstance(node, Loop) else node_children(node):
        state.never_started(child, inside(node, scope), "skipped", info.message)
    return NodeResult("failed", error=info)
