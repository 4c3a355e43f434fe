"""Turn pipelines into Prefect flows.

A flow walks the plan with the engine, and every leaf is a Prefect task run that is awaited directly: that gives real
concurrency, cancellation and timeouts, which submitted tasks would not give. Scheduling, states, the retry loop, logs
and the UI are Prefect's.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, TypeAlias

from prefect import State, flow, get_client
from prefect.client.schemas.objects import FlowRun
from prefect.context import FlowRunContext
from prefect.events import emit_event
from prefect.filesystems import LocalFileSystem
from prefect.logging.handlers import APILogHandler
from prefect.settings import get_current_settings
from prefect.states import Cancelled, Completed, Failed

from flows.author import OutputField, RunResult
from flows.calling import run_to_end
from flows.engine import Expectation, Prepared, combine_observers, run_plan
from flows.errors import OrchestrationError, PipelineFailed
from flows.model import Pipeline, hide_secrets
from flows.reports import LiveProgress, StepNames, plan_page, what_came_of_it
from flows.translator.announcing import announce_end
from flows.translator.artifacts import RunPages, write_page
from flows.translator.form import INDEX, MAX_CONCURRENCY, Control, flow_description, form
from flows.translator.heap import heap_frozen
from flows.translator.interrupts import handling_sigterm, sigterm_handler
from flows.translator.labels import SUBJECTS, labelled
from flows.translator.pipeline_flow import PipelineFlow, is_called_here
from flows.translator.seats import prefect_seats
from flows.translator.task_runs import RunLabels, says_more_than_the_state
from flows.translator.turns import Turns, turn

logger = logging.getLogger(__name__)
Prepare: TypeAlias = Callable[[Mapping[str, Any]], Prepared]
LOGGERS = ("flows", "handlers")


def translate(
    pipeline: Pipeline,
    prepare: Prepare,
    *,
    controls: Iterable[Control] = (INDEX, MAX_CONCURRENCY),
    outputs: Iterable[OutputField] = (),
    turns: Turns | None = None,
) -> PipelineFlow:
    """A Prefect flow that runs `pipeline`; its parameters are the pipeline's and `controls`, typed for the UI's form.

    `outputs` are those of its plan; they become part of the description. With `turns`, its runs take turns per index if
    their deployment asks for it (see `flows.translator.turns`).

    `prepare` makes the plan and the context from the parameters of a run, in the process that runs it; the services of
    that context are closed at the end. The flow run ends Completed, Completed with the name PartialSuccess, or Failed,
    as the run did; Cancelled if the call is cancelled. Who calls the flow gets the `RunResult`; of a run that failed,
    the `PipelineFailed` that is raised has it.
    """

    async def run(**parameters: Any) -> State[Any]:
        try:
            async with turn(pipeline.name, parameters, turns) as refused:
                with heap_frozen():
                    return refused or await carry_out(parameters)
        except asyncio.CancelledError:
            if not is_called_here(current_flow_run_id()):
                raise
            return Cancelled(message="Stopped by its caller")  # left to Prefect, it would read Crashed

    async def correct(flow: Any, flow_run: FlowRun, state: State[Any]) -> None:
        """A call that is cancelled before `run` begins reads Crashed."""
        task = asyncio.current_task()
        if is_called_here(str(flow_run.id)) and task is not None and task.cancelling():
            await _set_state(flow_run, Cancelled(message="Stopped before its first step"))

    async def carry_out(parameters: Mapping[str, Any]) -> State[Any]:
        try:
            prepared = prepare(parameters)
        except OrchestrationError as error:  # it has the cure; raised, it would be a traceback in the log
            return Failed(data=error, message=str(error))
        try:
            if prepared.plan_only:
                await write_page(plan_page(prepared.plan))
                return Completed(message="Dry run: nothing was done; the plan is among the artifacts")
            return _final_state(await _run(prepared))
        finally:
            prepared.context.services.close()

    run.__name__ = pipeline.name
    run.__signature__, run.__doc__ = form(pipeline, controls)  # pyright: ignore[reportFunctionMemberAccess]
    return PipelineFlow(
        run,
        name=pipeline.name,
        description=flow_description(pipeline, outputs) or None,
        version=pipeline.version,
        flow_run_name=_run_name(pipeline),
        validate_parameters=True,
        persist_result=False,
        on_crashed=[correct],
    )


def run_as_flow(pipeline: Pipeline, parameters: Mapping[str, Any], prepare: Prepare) -> RunResult:
    """Run a pipeline as a Prefect flow in this process; without `PREFECT_API_URL`, on a temporary server.

    A failed run is a result, not an exception.

    Raises:
        KeyboardInterrupt: it was stopped with Ctrl-C; the flow run reads Cancelled.
        PipelineFailed: the engine did not get to its end.
    """
    ended = run_to_end(_as_flow(pipeline, parameters, prepare))
    if isinstance(ended, str):
        raise KeyboardInterrupt(ended)
    return ended


async def arun_as_flow(pipeline: Pipeline, parameters: Mapping[str, Any], prepare: Prepare) -> RunResult:
    """As `run_as_flow`, for async code; the flow run of a call that is cancelled reads Cancelled."""
    ended = await _as_flow(pipeline, parameters, prepare)
    if isinstance(ended, str):
        raise asyncio.CancelledError(ended)
    return ended


async def _as_flow(pipeline: Pipeline, parameters: Mapping[str, Any], prepare: Prepare) -> RunResult | str:
    """The result of a run; if it was stopped, an error that explains how to continue."""
    kept: list[RunResult] = []
    handler = sigterm_handler()

    async def run() -> State[Any]:
        prepared = prepare(parameters)
        try:
            with handling_sigterm(handler):
                kept.append(await _run(prepared))
        except asyncio.CancelledError:
            # Without this, Prefect would report Crashed.
            return Cancelled(message=f"Stopped; finished steps are kept: braid resume {prepared.context.execution_id}")
        state = _final_state(kept[0])
        if state.is_completed():
            state.data = None  # we have the result; Prefect would walk through all of it
        return state

    async def correct(flow: Any, flow_run: FlowRun, state: State[Any]) -> None:
        """A call that is cancelled before `run` begins, or after it has ended, reads Crashed too."""
        actual = _final_state(kept[0]) if kept else Cancelled(message="Stopped before its first step")
        actual.data = None
        await _set_state(flow_run, actual)

    run.__name__ = pipeline.name
    made = flow(name=pipeline.name, persist_result=False, on_crashed=[correct])(run)
    # Nothing is stored there; without it, Prefect would ask the server where to store.
    made.result_storage = LocalFileSystem(basepath=str(get_current_settings().results.local_storage_path))
    try:
        with heap_frozen():
            begun: Any = made(return_state=True)  # a coroutine, since the flow is async; Prefect's types say a state
            state: State[Any] = await begun
    except Exception as error:  # whatever its client raises when the server is away
        if kept:
            logger.warning("%s: the run ended, but its end could not be reported to Prefect: %s", pipeline.name, error)
            return kept[0]
        where = get_current_settings().api.url or "a server that starts by itself"
        raise PipelineFailed(
            f"{pipeline.name}: Prefect ({where}) failed before the run had ended: {type(error).__name__}: {error}. "
            "Finished steps are kept (`braid runs`); see `braid doctor`, then go on with `braid resume RUN`"
        ) from error
    if not kept and state.is_cancelled():
        return state.message or "Stopped"
    if not kept:
        # The engine did not get to the end; the state says why.
        raise PipelineFailed(f"{pipeline.name}: {state.message}")
    return kept[0]


def current_flow_run_id() -> str | None:
    """Prefect's id of the flow run that this code runs in; a retried flow run keeps it."""
    context = FlowRunContext.get()
    return str(context.flow_run.id) if context is not None and context.flow_run is not None else None


async def _run(prepared: Prepared) -> RunResult:
    _send_logs_to_prefect()
    names = StepNames(prepared.plan)
    live = LiveProgress(names, (prepared.expected or Expectation()).usual_s)
    pages = RunPages(prepared.plan, live)
    async with labelled(prepared), prefect_seats(prepared.plan) as seats, pages.shown():
        watched = replace(prepared, observer=combine_observers(prepared.observer, names, live))
        labels = RunLabels(prepared.plan.pipeline.name, names)
        result = await run_plan(watched, run_leaf=labels.run_task, seats=seats)
    await asyncio.gather(pages.conclude(prepared, result), announce_end(result))
    for notice in prepared.notices(result):
        related = [dict(each) for each in notice.related]
        emit_event(notice.event, resource=dict(notice.resource), related=related, payload=dict(notice.payload))
    return replace(result, flow_run_id=current_flow_run_id())


def _final_state(result: RunResult) -> State[Any]:
    came_of_it = what_came_of_it(result)
    if result.stopped:
        return Failed(data=PipelineFailed(result.stopped, result=result), message=came_of_it)
    if result.status == "failed":
        # Without a failed step, a group failed by itself: in its merge, or for lack of branches.
        outcomes = sorted((o for o in result.outcomes if o.error is not None), key=lambda o: not o.is_leaf)
        first = next((f"{o.step.rpartition('.')[2]}: {o.error.message}" for o in outcomes if o.error is not None), "")
        message = f"{came_of_it}; first: {first}" if first else came_of_it
        return Failed(data=PipelineFailed(message, transient=result.transient, result=result), message=message)
    if result.status == "partial":
        return Completed(name="PartialSuccess", data=result, message=came_of_it)
    return Completed(data=result, message=came_of_it)


async def _set_state(flow_run: FlowRun, state: State[Any]) -> None:
    async with get_client() as client:
        await client.set_flow_run_state(flow_run.id, state, force=True)


def _send_logs_to_prefect() -> None:
    """Make the records of our loggers part of the Prefect run they are written in."""
    logging.getLogger("prefect.task_runs").addFilter(says_more_than_the_state)
    for name in LOGGERS:
        ours = logging.getLogger(name)
        if not any(isinstance(known, _RunLogHandler) for known in ours.handlers):
            ours.addHandler(_RunLogHandler())
        if ours.level == logging.NOTSET:
            ours.setLevel(logging.getLogger("prefect.flow_runs").getEffectiveLevel())


class _RunLogHandler(APILogHandler):
    """Sends logs to Prefect that are made inside a run; other logs are not Prefect's."""

    def emit(self, record: logging.LogRecord) -> None:
        if FlowRunContext.get() is not None:
            super().emit(record)


def _run_name(pipeline: Pipeline) -> Callable[[], str]:
    def name() -> str:
        from prefect.runtime import flow_run

        given: Mapping[str, Any] = flow_run.parameters or {}
        # A resumed run uses the index and source of the earlier run, not those of the form.
        if given.get("resume_from"):
            return hide_secrets(f"{pipeline.name} · resumes {given['resume_from']}")
        subject = [str(given[key]) for key in SUBJECTS if given.get(key)]
        return hide_secrets(" · ".join([pipeline.name, *subject]))

    return name
