"""Run a plan from its start to its result; knows nothing of Prefect.

It is generic over one function, `run_leaf(call) -> LeafResult`; everything else is the same whether the leaves are
Prefect task runs or plain calls, so both give the same outcomes and the same final state.
"""

import asyncio
from dataclasses import replace

from flows.author import Outcome, RunResult, RunStatus, now
from flows.calling import RunLeaf, open_cluster
from flows.engine.attempts import run_leaf as run_inline
from flows.engine.events import RunFinished, RunStarted
from flows.engine.journal import keep_in_journal
from flows.engine.prepared import Prepared
from flows.engine.results import keep_outputs, output_fields
from flows.engine.run_state import NodeResult, RunState, Scope, deadline_after
from flows.engine.stuck import Expectation, StuckWatch
from flows.engine.walk import run_node
from flows.limits import (
    Admission,
    Budget,
    RetryCount,
    RunLimits,
    SharedSeats,
    Window,
    process_resources,
    warn_of_what_is_not_shared,
)
from flows.planning import step_fingerprints
from flows.state import Progress


async def run_plan(
    prepared: Prepared, *, run_leaf: RunLeaf = run_inline, seats: SharedSeats | None = None
) -> RunResult:
    """Run a plan and change its context; the result has one outcome for each declared step, branch and item.

    Finished calls in the journal are reused, and calls that succeed are added to it. `seats` enforces concurrency
    limits across processes; without it, they are enforced among the runs of this process. A failed run is a result, not
    an exception. When the caller is cancelled, running steps are stopped, their outcomes are recorded, and the
    cancellation propagates.
    """
    plan, context, journal = prepared.plan, prepared.context, prepared.journal
    state = RunState(
        plan,
        keep_in_journal(run_leaf, journal),
        prepared.observer,
        run_id=context.execution_id,
        limits=RunLimits(
            Window(plan.limit.value),
            Admission(plan.all_resources, process_resources(), seats, prepared.rates, prepared.share),
            RetryCount(plan.retry_budget),
            Budget(plan.budget, spent=prepared.spent),
        ),
        fingerprints=step_fingerprints(plan, context.fingerprint()) if journal.active else {},
        journal=journal,
        item_seconds=prepared.item_seconds,
        cluster=await open_cluster(plan),
    )
    before = frozenset(context.data)
    started, loop = now(), asyncio.get_running_loop()
    began = loop.time()
    warn_of_what_is_not_shared(state.limits.admission)
    context.progress_view = Progress(plan.pipeline.steps)
    state.observe(RunStarted(plan, context.execution_id))
    scope = Scope(deadline=deadline_after(plan.pipeline.timeout_s))
    watching = _start_watch(state, prepared.expected)
    # In a task of its own, so that we can turn its cancellation into outcomes and still propagate the caller's.
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
        status="failed" if state.limits.budget.refusal else _run_status(result, state),
        outcomes=outcomes,
        context=context,
        started=started,
        seconds=loop.time() - began,
        transient=result.transient and not state.limits.budget.refusal,
        stopped=_budget_stop(state, outcomes),
        late_cost=dict(state.limits.budget.late),
    )
    prepared.at_end(ended)
    fields = output_fields(plan, context, before)
    ended = replace(ended, summary=prepared.summary(ended))
    ended = replace(ended, output_fields=fields, kept_outputs=keep_outputs(context, fields) if journal.active else None)
    state.observe(RunFinished(ended))
    return ended


def _start_watch(state: RunState, expected: Expectation | None) -> "asyncio.Task[None] | None":
    if expected is None:
        return None
    state.watch = StuckWatch(expected, state.observe)
    return asyncio.ensure_future(state.watch.forever())


def _budget_stop(state: RunState, outcomes: tuple[Outcome, ...]) -> str:
    """Why a run that used up its budget ended, and how to go on; empty if it did not."""
    budget = state.limits.budget
    if not budget.refusal:
        return ""
    missed = sum(1 for outcome in outcomes if outcome.is_leaf and outcome.reason == budget.refusal)
    more = " ".join(f"--budget {unit}={amount:g}" for unit, amount in budget.enough().items())
    steps = "1 step" if missed == 1 else f"{missed} steps"
    return f"{budget.refusal}; {steps} not started. Go on with: braid resume {state.run_id} {more}"


def _run_status(result: NodeResult, state: RunState) -> RunStatus:
    if not result.ok:
        return "failed"
    # A branch that lost a race is not a failure: nothing that the result needs is missing.
    counted = [one for one in state.outcomes.values() if not any(one.path.inside(path) for path in state.lost)]
    if any(outcome.path in state.fails_run for outcome in counted):
        return "failed"
    # A branch that never started has no error of its own, and a stopped branch is not a failure.
    incomplete = any(
        outcome.error is not None or outcome.failures or outcome.status in ("failed", "timed_out")
        for outcome in counted
    )
    return "partial" if incomplete else "succeeded"
