"""Turn pipelines into Prefect flows; the only module that imports Prefect.

A flow walks the plan with the engine, and every leaf is a Prefect task run that is awaited directly: that gives real
concurrency, real cancellation and real timeouts, where submitted tasks would give neither. Scheduling, states, the
retry loop, logs and the UI are Prefect's.
"""

import asyncio
import contextlib
import copy
import logging
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextvars import ContextVar
from dataclasses import replace
from functools import lru_cache
from typing import Any, TypeAlias
from uuid import UUID

from prefect import State, flow, get_client, task
from prefect.artifacts import acreate_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.actions import ArtifactUpdate
from prefect.client.schemas.objects import TaskRun
from prefect.context import FlowRunContext
from prefect.logging.handlers import APILogHandler
from prefect.results import ResultRecordMetadata  # pyright: ignore[reportPrivateImportUsage]  (users find it here)
from prefect.settings import get_current_settings
from prefect.states import Cancelled, Completed, Failed
from prefect.utilities.annotations import quote

from flows.author import OutputField, RunResult, ending_of, traceback_text
from flows.calling import LeafCall, LeafResult, run_to_end
from flows.engine import Prepared, attempt, combine_observers, conclude, next_delay, run_plan
from flows.engine import run_leaf as run_inline
from flows.errors import FatalError, PipelineFailed
from flows.model import Pipeline
from flows.planning import Plan
from flows.reports import LiveProgress, Page, plan_page, run_pages
from flows.translator.form import INDEX, MAX_CONCURRENCY, Control, flow_description, form
from flows.translator.interrupts import handling_sigterm, sigterm_handler
from flows.translator.pipeline_flow import PipelineFlow
from flows.translator.seats import prefect_seats

logger = logging.getLogger(__name__)
Prepare: TypeAlias = Callable[[Mapping[str, Any]], Prepared]
LOGGERS = ("flows", "handlers")
PROGRESS_EVERY_S = 3.0
PAGE_S = 20.0
"""How long a page may take to be written."""


def translate(
    pipeline: Pipeline,
    prepare: Prepare,
    *,
    controls: Iterable[Control] = (INDEX, MAX_CONCURRENCY),
    outputs: Iterable[OutputField] = (),
) -> PipelineFlow:
    """A Prefect flow that runs `pipeline`; its parameters are the pipeline's and `controls`, typed for the UI's form.

    `outputs` are those of its plan; they become part of the description.

    `prepare` makes the plan and the context from the parameters of a run, in the process that runs it; the services of
    that context are closed at the end. The flow run ends Completed, Completed with the name PartialSuccess, or Failed,
    as the run did. Who calls the flow gets the `RunResult`; of a run that failed, the `PipelineFailed` that is raised
    has it.
    """

    async def run(**parameters: Any) -> State[Any]:
        prepared = prepare(parameters)
        try:
            if prepared.plan_only:
                await _write_artifact(plan_page(prepared.plan))
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
    )


def run_as_flow(
    pipeline: Pipeline, parameters: Mapping[str, Any], prepare: Prepare, *, run_name: str | None = None
) -> RunResult:
    """Run a pipeline as a Prefect flow in this process; without `PREFECT_API_URL`, on a server that starts by itself.

    A failed run is a result, not an exception.

    Raises:
        KeyboardInterrupt: it was stopped with Ctrl-C; the flow run reads Cancelled.
        PipelineFailed: the engine did not get to its end.
    """
    ended = run_to_end(_as_flow(pipeline, parameters, prepare, run_name))
    if isinstance(ended, str):
        raise KeyboardInterrupt(ended)
    return ended


async def arun_as_flow(
    pipeline: Pipeline, parameters: Mapping[str, Any], prepare: Prepare, *, run_name: str | None = None
) -> RunResult:
    """As `run_as_flow`, for async code; the flow run of a call that is cancelled reads Cancelled."""
    ended = await _as_flow(pipeline, parameters, prepare, run_name)
    if isinstance(ended, str):
        raise asyncio.CancelledError(ended)
    return ended


async def _as_flow(
    pipeline: Pipeline, parameters: Mapping[str, Any], prepare: Prepare, run_name: str | None
) -> RunResult | str:
    """The result of a run, or how to go on from one that was stopped."""
    kept: list[RunResult] = []
    handler = sigterm_handler()

    async def run() -> State[Any]:
        prepared = prepare(parameters)
        try:
            with handling_sigterm(handler):
                kept.append(await _run(prepared))
        except asyncio.CancelledError:
            # Left to Prefect, it would read Crashed.
            return Cancelled(
                message=f"Stopped; what had finished is kept: braid resume {prepared.context.execution_id}"
            )
        state = _final_state(kept[0])
        if state.is_completed():
            state.data = None  # we have the result; Prefect would walk through all of it
        return state

    run.__name__ = pipeline.name
    made = flow(name=pipeline.name, flow_run_name=run_name, persist_result=False)(run)
    begun: Any = made(return_state=True)  # a coroutine, since the flow is async; Prefect's types say a state
    try:
        state: State[Any] = await begun
    except Exception as error:  # whatever its client raises when the server is away
        if kept:
            logger.warning("%s: the run ended, but Prefect could not be told: %s", pipeline.name, error)
            return kept[0]
        where = get_current_settings().api.url or "a server that starts by itself"
        raise PipelineFailed(
            f"{pipeline.name}: Prefect ({where}) failed before the run had ended: {type(error).__name__}: {error}. "
            "What had been finished is kept (`braid runs`); see `braid doctor`, then go on with `braid resume RUN`"
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
    live = LiveProgress()
    async with prefect_seats(prepared.plan) as seats, _progress_artifact(prepared.plan, live):
        watched = replace(prepared, observer=combine_observers(prepared.observer, live))
        result = await run_plan(watched, run_leaf=run_task, seats=seats)
    pages = await asyncio.to_thread(run_pages, prepared.plan, result, spent=prepared.spent, read=_file_reader(prepared))
    pages += [Page(*each) for each in prepared.more_pages(result)]
    await asyncio.gather(*(_write_artifact(page) for page in pages))
    return replace(result, flow_run_id=current_flow_run_id())


def _file_reader(prepared: Prepared) -> Callable[[str, int], bytes] | None:
    """Reads files of outputs, if the run has a storage."""
    services = prepared.context.services
    if "storage" not in services:
        return None
    return lambda uri, most: services["storage"].read(uri, max_bytes=most)


async def run_task(leaf: LeafCall) -> LeafResult:
    """Run a leaf as one Prefect task run, its retries included; never raises."""
    return await _TaskRun(leaf).run()


class _TaskRun:
    """One leaf's task run: what goes on in it, so that it can be stopped at any moment and still read well."""

    def __init__(self, leaf: LeafCall) -> None:
        self.leaf = leaf
        self.ended: LeafResult | None = None
        """How its last attempt ended."""
        self.work: asyncio.Task[LeafResult] | None = None
        self.waiting: TaskRun | None = None
        self.stopped = False

    async def run(self) -> LeafResult:
        made = copy.copy(_step_task(self.leaf.node.spec.name, self.leaf.node.retry.max_attempts - 1))
        made.task_run_name = self.leaf.id.replace("{", "{{").replace("}", "}}")
        made.retry_condition_fn = self._may_retry
        _OURS.set(True)
        running = asyncio.ensure_future(made(quote(self), return_state=True))
        try:
            await asyncio.shield(running)
        except asyncio.CancelledError as error:
            await self._stop_task_run(running)
            return LeafResult(ending_of(error, abandoned=self.leaf.progress.abandoned))
        except Exception as error:
            return await self._without_prefect(error)
        if self.ended is not None:
            return conclude(self.leaf, self.ended)
        return LeafResult(ending_of(FatalError(f"{self.leaf.id}: the task run ended {running.result().name}")))

    async def _without_prefect(self, failed: Exception) -> LeafResult:
        """How the leaf ended although its task run could not be kept; what was not tried is tried without one."""
        logger.warning("%s: Prefect could not keep its task run (%s); it counts all the same", self.leaf.id, failed)
        ended, attempts_left = self.ended, self.leaf.node.retry.max_attempts - self.leaf.progress.attempts
        if ended is None or (ended.ending.transient and attempts_left > 0):
            return await run_inline(self.leaf)
        return conclude(self.leaf, ended)

    async def attempt(self) -> State[Any]:
        """The body of the task: one attempt."""
        leaf = self.leaf
        if self.stopped:
            return Cancelled(message="Stopped before it started", data=_NOTHING)
        self.work = asyncio.ensure_future(attempt(leaf))
        try:
            ended = await self.work
        except asyncio.CancelledError as error:  # it was stopped before it began
            ended = LeafResult(ending_of(error))
        ending = ended.ending
        if ending.stopped and not ending.refused:
            text = "its thread goes on, its result will be dropped" if ending.status == "abandoned" else "stopped"
            return Cancelled(message=f"The result is no longer wanted: {text}", data=_NOTHING)
        self.ended = ended
        if ending.refused:
            return Cancelled(message=str(ending.error), data=_NOTHING)
        if ending.error is not None:
            if ending.error.__cause__ is not None:
                cause = traceback_text(ending.error.__cause__)
                logger.error("%s: attempt %d failed\n%s", leaf.id, leaf.progress.attempts, cause)
            raise ending.error
        if leaf.progress.call.failures:
            text = f"{len(leaf.progress.call.failures)} item(s) set aside"
            return Completed(name="PartialSuccess", message=text, data=_NOTHING)
        return Completed(data=_NOTHING)

    async def _may_retry(self, made: Any, task_run: TaskRun, state: State[Any]) -> bool:
        """Whether Prefect should try again, and when: only what may pass by itself, only while there is time."""
        delay_s = None if self.stopped or self.ended is None else next_delay(self.leaf, self.ended.ending)
        if delay_s is None:
            return False
        made.retry_delay_seconds = delay_s
        self.leaf.give_way()
        self.waiting, self.work = task_run, None
        return True

    async def _stop_task_run(self, running: "asyncio.Task[Any]") -> None:
        """End the task run as Cancelled, whatever it is doing."""
        self.stopped = True
        if self.work is not None and not self.work.done():
            self.work.cancel()
        elif self.waiting is not None and not running.done():
            # Asleep between two attempts: Prefect would call the interruption a crash.
            running.cancel()
            await asyncio.wait([running])
            try:
                async with get_client() as client:
                    await client.set_task_run_state(
                        self.waiting.id, Cancelled(message="Stopped between attempts"), force=True
                    )
            except Exception as error:
                logger.warning("%s: Prefect could not be told that it was stopped: %s", self.leaf.id, error)
            return
        await asyncio.wait([running])


@task(cache_policy=NO_CACHE, persist_result=False, log_prints=False)
async def _leaf_task(run: _TaskRun) -> State[Any]:
    return await run.attempt()


@lru_cache(maxsize=1024)
def _step_task(name: str, retries: int) -> Any:
    """The task of a step; its calls are copies, since making a task reads the source of its function."""
    return _leaf_task.with_options(name=name, retries=retries, retry_delay_seconds=0)


_NOTHING: Any = ResultRecordMetadata.model_construct(storage_key="", serializer=None)
"""The data of every state of a task run. Results are the engine's; without this, Prefect makes a record for each."""


def _final_state(result: RunResult) -> State[Any]:
    failed = [outcome for outcome in result.outcomes if outcome.is_leaf and outcome.error is not None]
    succeeded = sum(1 for outcome in result.outcomes if outcome.is_leaf and outcome.status == "succeeded")
    summary = f"{succeeded} step{'' if succeeded == 1 else 's'} succeeded"
    if failed:
        summary += f", {len(failed)} failed"
    if result.failures:
        summary += f", {len(result.failures)} item(s) set aside"
    if result.stopped:
        return Failed(data=PipelineFailed(result.stopped, result=result), message=f"{summary}; {result.stopped}")
    if result.status == "failed":
        # Without a failed step, a group failed by itself: in its merge, or for lack of branches.
        first = next(iter([*failed, *(outcome for outcome in result.outcomes if outcome.error is not None)]), None)
        message = f"{summary}; first: {first.id}: {first.error.message}" if first and first.error else summary
        return Failed(data=PipelineFailed(message, transient=result.transient, result=result), message=message)
    if result.status == "partial":
        return Completed(name="PartialSuccess", data=result, message=summary)
    return Completed(data=result, message=summary)


@contextlib.asynccontextmanager
async def _progress_artifact(plan: Plan, live: LiveProgress) -> AsyncGenerator[None]:
    """Show the plan, and how far the run is while it goes on; the run does not wait for that."""
    ended = asyncio.Event()

    async def show() -> None:
        await _write_artifact(plan_page(plan))
        artifact: UUID | None = None
        async for text in live.texts(ended, every_s=PROGRESS_EVERY_S):
            artifact = await _write_artifact(Page("progress", "How far the run is", text), instead_of=artifact)

    showing = asyncio.ensure_future(show())
    try:
        yield
    finally:
        ended.set()
        await showing


async def _write_artifact(page: Page, *, instead_of: UUID | None = None) -> UUID | None:
    """Leave an artifact with the flow run; a run does not fail because its report could not be written."""
    if FlowRunContext.get() is None:
        return None
    try:
        async with asyncio.timeout(PAGE_S):  # while the server is away, its client would try for a minute
            if instead_of is None:
                return await acreate_markdown_artifact(
                    page.markdown, key=f"braid-{page.key}", description=page.description
                )
            async with get_client() as client:
                await client.update_artifact(instead_of, ArtifactUpdate(data=page.markdown))
    except Exception:
        logger.warning("could not write the artifact %s", page.key, exc_info=True)
    return instead_of


def _send_logs_to_prefect() -> None:
    """Make the records of our loggers part of the Prefect run they are written in."""
    for handler in logging.getLogger("prefect.task_runs").handlers:
        if isinstance(handler, APILogHandler) and _says_more_than_the_state not in handler.filters:
            handler.addFilter(_says_more_than_the_state)
    for name in LOGGERS:
        ours = logging.getLogger(name)
        if not any(isinstance(known, _RunLogHandler) for known in ours.handlers):
            ours.addHandler(_RunLogHandler())
        if ours.level == logging.NOTSET:
            ours.setLevel(logging.INFO)


_OURS: ContextVar[bool] = ContextVar("ours", default=False)
"""Whether the task run is one of ours."""


def _says_more_than_the_state(record: logging.LogRecord) -> bool:
    """Whether a record of a task run is worth sending: not if it only says that the task run is completed."""
    finished = record.levelno == logging.INFO and str(record.msg).startswith("Finished in state Completed(")
    return not (finished and _OURS.get())


class _RunLogHandler(APILogHandler):
    """Sends what is logged inside a run; what is logged outside of one is not Prefect's."""

    def emit(self, record: logging.LogRecord) -> None:
        if FlowRunContext.get() is not None:
            super().emit(record)


def _run_name(pipeline: Pipeline) -> Callable[[], str]:
    def name() -> str:
        from prefect.runtime import flow_run

        given: Mapping[str, Any] = flow_run.parameters or {}
        if given.get("resume_from"):  # its index and source are those of that run, whatever the form says
            return f"{pipeline.name} · resumes {given['resume_from']}"
        told = [str(given[key]) for key in ("index", "source", "query") if given.get(key)]
        return " · ".join([pipeline.name, *told])

    return name
