"""The attempts of one call: each waits for admission and calls the handler; `next_delay` decides about the next one.

`run_leaf` makes them by direct calls: for tests, for dry runs, and for retrieval that must answer in milliseconds. The
translator uses `attempt` and `next_delay` inside a Prefect task run, and leaves the waiting to Prefect's own retries.
"""

import asyncio
import inspect
import logging
import random
import typing
from contextlib import AsyncExitStack
from dataclasses import replace

from flows.author import SUCCEEDED, Attempt, Call, Ending, add_up, ending_of, error_info, now
from flows.calling import (
    BOOKKEEPING,
    RETRY,
    TURN,
    CallResult,
    LeafCall,
    LeafResult,
    Work,
    call_function,
    resource_wait,
)
from flows.engine.binding import bind_inputs, bind_options, bind_result, bind_view
from flows.engine.run_state import stop_is_asked
from flows.errors import BudgetUsedUp, OrchestrationError, StepTimeout, TransientError
from flows.limits import AdmittedCall
from flows.state import hand_out

logger = logging.getLogger(__name__)


async def run_leaf(leaf: LeafCall) -> LeafResult:
    """Call the handler until it succeeds, fails for good, or has no attempt left; never raises."""
    while True:
        ended = await attempt(leaf)
        delay_s = next_delay(leaf, ended.ending)
        if delay_s is None:
            return conclude(leaf, ended)
        leaf.give_way()
        leaf.progress.times.wait_for(RETRY)
        try:
            await asyncio.sleep(delay_s)
        except asyncio.CancelledError as error:
            return LeafResult(ending_of(error, abandoned=leaf.progress.abandoned))


def next_delay(leaf: LeafCall, ending: Ending) -> float | None:
    """Seconds until the next attempt; None if there is none.

    The step's own rules, its deadline, and the run's budgets of cost and of retries decide. If only the retry budget
    forbids the attempt, the error's message has that reason.
    """
    retry, made, error = leaf.node.retry, leaf.progress.attempts, ending.error
    if error is None or not ending.transient or not 0 < made < retry.max_attempts:
        return None
    if leaf.limits.budget.refusal or stop_is_asked():
        return None
    delay_s = retry.delay_before(made + 1, retry_after_s=ending.retry_after_s, random=random.random())
    if leaf.deadline is not None and asyncio.get_running_loop().time() + delay_s >= leaf.deadline:
        return None
    count = leaf.limits.retries
    if not count.spend():
        note = f"not tried again: the run's retry budget ({count.budget}) is used up"
        error.args = (f"{error}; {note}",)  # what Prefect shows as the message of the state
        error.add_note(note)
        logger.warning("%s: attempt %d failed (%s)", leaf.id, made, error)
        return None
    left = "" if count.budget is None else f", {count.left():.0f} retries left in the run"
    logger.info("%s: attempt %d failed (%s), next in %.2f s%s", leaf.id, made, error, delay_s, left)
    return delay_s


def conclude(leaf: LeafCall, ended: LeafResult) -> LeafResult:
    """The final result of a call; if the budget refused the last attempt, that of the attempt before it."""
    return LeafResult(leaf.progress.failure) if ended.ending.refused and leaf.progress.failure is not None else ended


async def attempt(leaf: LeafCall) -> LeafResult:
    """Make one attempt; never raises."""
    try:
        async with AsyncExitStack() as held:
            admitted = await _wait_for_admission(leaf, held)
            return LeafResult(SUCCEEDED, await _try_once(leaf, admitted))
    except (asyncio.CancelledError, OrchestrationError) as error:
        ending = ending_of(error, abandoned=leaf.progress.abandoned)
    if not ending.stopped:
        leaf.progress.failure = ending
    return LeafResult(ending)


async def _wait_for_admission(leaf: LeafCall, held: AsyncExitStack) -> AdmittedCall:
    """Wait until every limit lets the call start.

    Raises:
        StepTimeout: the deadline came before the call was admitted.
        TransientError: a resource that it uses is failing, or cannot be asked; this counts as an attempt.
    """
    times = leaf.progress.times
    times.wait_for(TURN)
    try:
        async with asyncio.timeout_at(leaf.deadline):
            if leaf.slot is not None:
                await leaf.slot.hold()
            for window in (*leaf.windows, leaf.limits.calls):
                await held.enter_async_context(window)
            admitted = AdmittedCall()
            if leaf.node.uses:
                times.wait_for(resource_wait(leaf.node.uses))
                admitted = await held.enter_async_context(
                    leaf.limits.admission.hold(leaf.node.uses, expected_tokens=leaf.node.expected_tokens)
                )
        if leaf.deadline is not None and asyncio.get_running_loop().time() >= leaf.deadline:
            raise TimeoutError  # admitted immediately, but after the deadline
    except TimeoutError as error:
        text = f"{leaf.id} timed out before it started; it waited for {times.waits_for}"
        raise StepTimeout(text) from error
    except TransientError:
        leaf.progress.attempts += 1
        leaf.progress.started = leaf.progress.started or now()
        raise
    return admitted


async def _try_once(leaf: LeafCall, admitted: AdmittedCall) -> CallResult:
    """Call the handler once, and record its cost and how it ended.

    Raises:
        TransientError: it failed and may succeed when tried again (`StepTimeout` and `StepAbandoned` are such).
        FatalError: it failed for good.
        BudgetUsedUp: it was not called, because the run's budget allows no more calls.
        asyncio.CancelledError: the result is no longer needed.
    """
    loop, spec, progress, budget = asyncio.get_running_loop(), leaf.node.spec, leaf.progress, leaf.limits.budget
    deadline = leaf.deadline
    if leaf.node.retry.attempt_timeout_s is not None:
        until = loop.time() + leaf.node.retry.attempt_timeout_s
        deadline = until if deadline is None else min(deadline, until)
    if leaf.undo_of is None and not budget.may_start(spec.name):
        raise BudgetUsedUp(budget.refusal)
    progress.attempts += 1
    times = progress.times
    worked = times.work_s
    times.work()
    started = now()
    progress.started = progress.started or started
    charge = budget.start(spec.name)
    context = leaf.context
    progress.call = Call(
        leaf.id,
        progress.attempts,
        context.identity,
        leaf.item,
        context.aside if spec.call_parameter is not None else {},
        price=spec.price,
        on_cost=charge.add,
    )
    progress.call.ceiling = leaf.limits.calls.limit
    ending = SUCCEEDED
    progress.is_trying = True
    try:
        return await (
            _call_handler(leaf, deadline) if leaf.undo_of is None else _call_undo(leaf, leaf.undo_of, deadline)
        )
    except BaseException as error:
        ending = ending_of(error, abandoned=progress.abandoned)
        raise
    finally:
        progress.is_trying = False
        worked = times.work_s - worked
        times.wait_for(BOOKKEEPING)
        cost = budget.end(charge)
        progress.costs = add_up([progress.costs, cost])
        admitted.ending, admitted.tokens = ending, progress.call.costs.get("tokens")
        error = error_info(ending.error) if ending.error is not None else None
        if worked:  # a worker process may have begun the call later
            started = times.work_began or started
        progress.tries.append(Attempt(progress.attempts, ending.status, started, worked, cost, error))
        leaf.attempted(progress.tries[-1])


async def _call_handler(leaf: LeafCall, deadline: float | None) -> CallResult:
    spec, options = leaf.node.spec, bind_options(leaf)
    if spec.call_parameter is not None:
        options[spec.call_parameter] = leaf.progress.call
    view = bind_view(leaf)
    work = Work(spec, bind_inputs(leaf, view), options, lambda returned: bind_result(leaf, view, returned))
    return await call_function(leaf, work, deadline)


async def _call_undo(leaf: LeafCall, result: CallResult, deadline: float | None) -> CallResult:
    """Call the handler's `undo` with the inputs and the result of the handler; its own result is ignored."""
    spec, options = leaf.node.spec, bind_options(leaf)
    undo = spec.undo
    assert undo is not None, f"{spec.name} has no undo"
    inputs = bind_inputs(leaf, leaf.context.fork())
    undone = replace(inputs, more=(hand_out(result.value),))
    hints = typing.get_type_hints(undo)
    wanted = {
        name: leaf.progress.call if hints.get(name) is Call else options[name]
        for name, parameter in inspect.signature(undo).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY and (hints.get(name) is Call or name in options)
    }
    undoing = replace(spec, function=undo, is_async=inspect.iscoroutinefunction(undo), isolation="thread")
    return await call_function(leaf, Work(undoing, undone, wanted, lambda _: CallResult((), None)), deadline)
