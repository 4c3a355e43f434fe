"""One attempt at one handler: its inputs read, its function called, its result turned into a delta."""

import asyncio
import inspect
import typing
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any, cast

from flows.author import (
    SUCCEEDED,
    Attempt,
    Call,
    FatalFailure,
    HandlerSpec,
    Success,
    TransientFailure,
    add_up,
    classified,
    ending_of,
    error_info,
    now,
)
from flows.calling import CallResult, LeafCall, LeafResult, call_function
from flows.errors import BudgetUsedUp, FatalError, MissingRead, OrchestrationError, StepTimeout, TransientError
from flows.limits import Admitted
from flows.model import render, template_names
from flows.state import Context


async def attempt(leaf: LeafCall) -> LeafResult:
    """Try once; never raises."""
    try:
        async with AsyncExitStack() as held:
            admitted = await _take_turn(leaf, held)
            return LeafResult(SUCCEEDED, await _try(leaf, admitted))
    except (asyncio.CancelledError, OrchestrationError) as error:
        ending = ending_of(error, abandoned=leaf.abandoned)
    if not ending.stopped:
        leaf.failure = ending
    return LeafResult(ending)


def conclude(leaf: LeafCall, ended: LeafResult) -> LeafResult:
    """How the call ends with its last attempt: as the one before, if the budget refused the last."""
    return LeafResult(leaf.failure) if ended.ending.refused and leaf.failure is not None else ended


async def _try(leaf: LeafCall, admitted: Admitted) -> CallResult:
    """Call the handler once, and note what it cost and how it ended.

    Raises:
        TransientError: it failed and may succeed when tried again (`StepTimeout` and `Abandoned` are such).
        FatalError: it failed for good.
        BudgetUsedUp: it was not called, because the run's budget allows no more calls.
        asyncio.CancelledError: the result is no longer wanted.
    """
    loop, spec = asyncio.get_running_loop(), leaf.node.spec
    deadline = leaf.deadline
    if leaf.node.retry.attempt_timeout_s is not None:
        until = loop.time() + leaf.node.retry.attempt_timeout_s
        deadline = until if deadline is None else min(deadline, until)
    if leaf.undo_of is None and not leaf.meter.may_start(spec.name):
        raise BudgetUsedUp(leaf.meter.refusal)
    leaf.attempts += 1
    started, began = now(), loop.time()
    leaf.started = leaf.started or started
    charge = leaf.meter.start(spec.name)
    leaf.call = Call(
        leaf.id,
        leaf.attempts,
        leaf.context.identity,
        leaf.item,
        leaf.context.aside,
        price=spec.price,
        on_cost=charge.add,
    )
    ending = SUCCEEDED
    leaf.is_trying = True
    try:
        return await _call(leaf, spec, deadline)
    except BaseException as error:
        ending = ending_of(error, abandoned=leaf.abandoned)
        raise
    finally:
        leaf.is_trying = False
        cost = leaf.meter.end(charge)
        leaf.costs = add_up([leaf.costs, cost])
        admitted.ending, admitted.tokens = ending, leaf.call.costs.get("tokens")
        error = error_info(ending.error) if ending.error is not None else None
        leaf.tried(Attempt(leaf.attempts, ending.status, started, loop.time() - began, cost, error))


async def _take_turn(leaf: LeafCall, held: AsyncExitStack) -> Admitted:
    """Wait until every limit lets the call start.

    Raises:
        StepTimeout: its time was up before that.
        TransientError: a resource that it uses is failing, or cannot be asked; this counts as an attempt.
    """
    deadline = leaf.deadline
    try:
        async with asyncio.timeout_at(deadline):
            if leaf.slot is not None:
                await leaf.slot.hold()
            for window in leaf.windows:
                await held.enter_async_context(window)
            admitted = await held.enter_async_context(leaf.turn()) if leaf.turn is not None else Admitted()
        if deadline is not None and asyncio.get_running_loop().time() >= deadline:
            raise TimeoutError  # a turn that came at once, but too late
    except TimeoutError as error:
        raise StepTimeout(f"{leaf.id}: the time was up before its turn came") from error
    except TransientError:
        leaf.attempts += 1
        leaf.started = leaf.started or now()
        raise
    return admitted


async def _call(leaf: LeafCall, spec: HandlerSpec, deadline: float | None) -> CallResult:
    options = _options(leaf, spec)
    if leaf.undo_of is not None:
        return await _undo(leaf, spec, leaf.undo_of, options, deadline)
    if spec.call_parameter is not None:
        options[spec.call_parameter] = leaf.call
    if spec.takes_context:
        view = leaf.context.fork(
            reads=frozenset(leaf.node.reads.values()) if spec.reads is not None else None,
            writes=frozenset(leaf.node.writes.values()) if spec.writes is not None else None,
        )
        arguments: list[Any] = [view]
    else:
        view = leaf.context.fork()
        arguments = _inputs(leaf, spec)
    result = await call_function(leaf, spec, arguments, options, deadline)
    match result:
        case Success():
            result = result.value
        case TransientFailure():
            raise TransientError(result.message, retry_after_s=result.retry_after_s) from result.exception
        case FatalFailure():
            raise FatalError(result.message) from result.exception
        case _:
            pass
    try:
        return _done(leaf, spec, view, result)
    except (TransientError, FatalError):
        raise
    except Exception as error:  # a value that a context cannot hold, or a quality score that fails
        raise classified(spec, error) from error


async def _undo(
    leaf: LeafCall, spec: HandlerSpec, done: CallResult, options: dict[str, Any], deadline: float | None
) -> CallResult:
    """Call the handler's `undo` with what the handler read and what it gave; its own result is of no interest."""
    assert spec.undo is not None, f"{spec.name} has no undo"
    reads: list[Any] = [leaf.context.fork()] if spec.takes_context else _inputs(leaf, spec)
    hints = typing.get_type_hints(spec.undo)
    wanted = {
        name: leaf.call if hints.get(name) is Call else options[name]
        for name, parameter in inspect.signature(spec.undo).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY and (hints.get(name) is Call or name in options)
    }
    undoing = replace(spec, function=spec.undo, is_async=inspect.iscoroutinefunction(spec.undo), isolation="thread")
    await call_function(leaf, undoing, [*reads, done.value], wanted, deadline)
    return CallResult((), None)


def _done(leaf: LeafCall, spec: HandlerSpec, view: Context, result: Any) -> CallResult:
    """Turn what the function returned into writes; what it did to its inputs stays with them."""
    outputs = _outputs(leaf, spec, result)
    for name, value in outputs.items():
        view.data[name] = value
    delta = view.delta()
    quality = spec.quality(result) if spec.quality is not None else None
    for change in delta:
        # The immutable copy in place of the array it was made of: one to hold and to keep, not two.
        mine = change.path[0] == "data" and len(change.path) == 2 and change.kind == "set" and change.immutable
        if mine and outputs.get(change.path[1]) is result:
            result = change.value
            break
    return CallResult(delta, result, quality)


def _outputs(leaf: LeafCall, spec: HandlerSpec, result: Any) -> Mapping[str, Any]:
    writes = leaf.node.writes
    if spec.takes_context:
        # A context's handler may return outputs beside what it wrote.
        pairs = cast("Mapping[str, Any]", result if isinstance(result, Mapping) else {})
        return {writes.get(name, name): value for name, value in pairs.items()}
    if not writes:
        return {}
    if len(writes) == 1:
        (target,) = writes.values()
        return {} if result is None and spec.optional_write else {target: result}
    if not isinstance(result, Mapping):
        raise FatalError(
            f"{spec.name} declares the writes {', '.join(writes)}, so it must return a mapping of them, "
            f"not {type(result).__name__}"
        )
    pairs = cast("Mapping[str, Any]", result)
    missing = [name for name in writes if name not in pairs]
    unknown = [str(name) for name in pairs if name not in writes]
    if missing or unknown:
        raise FatalError(
            f"{spec.name} declares the writes {', '.join(writes)}; its result lacks {', '.join(missing) or 'none'} "
            f"and has the undeclared {', '.join(unknown) or 'none'}"
        )
    return {writes[name]: pairs[name] for name in writes}


def _inputs(leaf: LeafCall, spec: HandlerSpec) -> list[Any]:
    view = leaf.context.fork()
    values: list[Any] = []
    for read in spec.reads or ():
        source = leaf.node.reads[read.name]
        if source in view.data:
            values.append(view.data[source])
        elif read.required:
            known = ", ".join(sorted(map(str, view.data))) or "none"
            raise MissingRead(f"{leaf.id} reads the field {source!r}, which nothing has written; there are: {known}")
        else:
            values.append(inspect.signature(spec.function).parameters[read.name].default)
    return values


def _options(leaf: LeafCall, spec: HandlerSpec) -> dict[str, Any]:
    declared = leaf.node.options
    if any(template_names(value) for value in declared.values()):
        declared = render(dict(declared), leaf.context.fork().data)
    try:
        model = spec.options.model_validate(dict(declared))
    except ValueError as error:
        raise FatalError(f"{leaf.id}: {error}") from error
    return {name: getattr(model, name) for name in type(model).model_fields}
