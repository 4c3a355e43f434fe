"""Leaves as Prefect task runs: awaited directly, with Prefect's retries, and stopped at any moment."""

import asyncio
import copy
import logging
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from prefect import State, get_client, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import TaskRun
from prefect.context import TaskRunContext
from prefect.results import ResultRecordMetadata  # pyright: ignore[reportPrivateImportUsage]  (users find it here)
from prefect.states import Cancelled, Completed

from flows.author import ending_of, traceback_text
from flows.calling import BOOKKEEPING, RETRY, LeafCall, LeafResult
from flows.engine import attempt, conclude, next_delay
from flows.engine import run_leaf as run_inline
from flows.errors import FatalError
from flows.reports import StepNames, counted, time_text
from flows.translator.labels import step_uses_index
from flows.translator.waiting import shown_waiting

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunLabels:
    """The names and tags of the task runs of a flow run."""

    pipeline: str
    names: StepNames

    async def run_task(self, leaf: LeafCall) -> LeafResult:
        """Run a leaf as one Prefect task run, its retries included; never raises."""
        return await _TaskRun(leaf, self.names.call(leaf.path, leaf.id), self._tags(leaf)).run()

    def _tags(self, leaf: LeafCall) -> list[str]:
        group = self.names.group(leaf.path)
        return [
            f"pipeline:{self.pipeline}",
            f"index:{leaf.context.index}" if step_uses_index(leaf.node) else "",
            f"handler:{leaf.node.spec.name}",
            f"group:{group}" if group else "",
            *(f"resource:{name}" for name in leaf.node.uses),
        ]


class _TaskRun:
    """One leaf's task run and its state; it can be stopped at any moment and still gets a clear final state."""

    def __init__(self, leaf: LeafCall, name: str, tags: list[str]) -> None:
        self.leaf, self.name, self.tags = leaf, name, [tag for tag in tags if tag]
        self.ended: LeafResult | None = None
        """How its last attempt ended."""
        self.work: asyncio.Task[LeafResult] | None = None
        self.waiting: TaskRun | None = None
        self.stopped = False

    async def run(self) -> LeafResult:
        # A copy of the one task, since making a task reads the source of its function.
        made: Any = copy.copy(_leaf_task)
        made.name, made.retries = self.leaf.node.spec.name, self.leaf.node.retry.max_attempts - 1
        made.task_run_name = self.name.replace("{", "{{").replace("}", "}}")
        made.retry_condition_fn = self._may_retry
        before = _CURRENT.set(self)
        running = asyncio.ensure_future(made(return_state=True))  # with a copy of these context variables
        _CURRENT.reset(before)
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
        """How the leaf ended when Prefect could not keep its task run; remaining attempts are made without one."""
        logger.warning(
            "%s: Prefect could not record its task run (%s); its result is used all the same", self.leaf.id, failed
        )
        ended, attempts_left = self.ended, self.leaf.node.retry.max_attempts - self.leaf.progress.attempts
        if ended is None or (ended.ending.transient and attempts_left > 0):
            return await run_inline(self.leaf)
        return conclude(self.leaf, ended)

    async def attempt(self) -> State[Any]:
        """The body of the task: one attempt."""
        leaf = self.leaf
        if self.stopped:
            return Cancelled(message="Stopped before it started", data=_NOTHING)
        context = TaskRunContext.get()
        if context is not None:
            # Not as tags of the task: for those, Prefect would ask the server for a limit before every task run.
            context.task_run.tags = self.tags
        if not leaf.progress.attempts and leaf.item is None:  # for an item or batch, the record of its end is enough
            logger.info("%s: started", self.name)
        self.work = asyncio.ensure_future(attempt(leaf))
        try:
            with shown_waiting(context, leaf.progress.times):
                ended = await self.work
        except asyncio.CancelledError as error:  # it was stopped before it began
            ended = LeafResult(ending_of(error))
        ending = ended.ending
        if ending.stopped and not ending.refused:
            text = "its thread goes on, its result will be dropped" if ending.status == "abandoned" else "stopped"
            return Cancelled(message=f"The result is no longer needed: {text}", data=_NOTHING)
        self.ended = ended
        if ending.refused:
            return Cancelled(message=str(ending.error), data=_NOTHING)
        if ending.error is not None:
            if ending.error.__cause__ is not None:
                cause = traceback_text(ending.error.__cause__)
                logger.error("%s: attempt %d failed\n%s", leaf.id, leaf.progress.attempts, cause)
            raise ending.error
        return self._succeeded()

    def _succeeded(self) -> State[Any]:
        """The final state, whose message and log line have its work and the reasons for waiting."""
        progress = self.leaf.progress
        aside = len(progress.call.failures)
        parts = [f"{counted(aside, 'item')} set aside"] if aside else []
        parts += [f"worked {time_text(progress.times.work_s)}"]
        parts += [
            f"waited {time_text(waited)} for {what}"
            for what, waited in progress.times.waits.items()
            if waited >= 0.1 and what != BOOKKEEPING
        ]
        text = ", ".join(parts)
        logger.info("%s: succeeded, %s", self.name, text)
        return Completed(name="PartialSuccess" if aside else "Completed", message=text.capitalize(), data=_NOTHING)

    async def _may_retry(self, made: Any, task_run: TaskRun, state: State[Any]) -> bool:
        """Whether and when Prefect should try again: only after transient errors, and only before the deadline."""
        delay_s = None if self.stopped or self.ended is None else next_delay(self.leaf, self.ended.ending)
        if delay_s is None:
            return False
        made.retry_delay_seconds = delay_s
        self.leaf.give_way()
        self.leaf.progress.times.wait_for(RETRY)
        self.waiting, self.work = task_run, None
        return True

    async def _stop_task_run(self, running: "asyncio.Task[Any]") -> None:
        """End the task run as Cancelled, from any state."""
        self.stopped = True
        if self.work is not None and not self.work.done():
            self.work.cancel()
        elif self.waiting is not None and not running.done():
            # The task run sleeps between two attempts; Prefect would report the interruption as a crash.
            running.cancel()
            await asyncio.wait([running])
            try:
                async with get_client() as client:
                    await client.set_task_run_state(
                        self.waiting.id, Cancelled(message="Stopped between attempts"), force=True
                    )
            except Exception as error:
                logger.warning("%s: its stop could not be reported to Prefect: %s", self.leaf.id, error)
            return
        await asyncio.wait([running])


@task(cache_policy=NO_CACHE, persist_result=False, log_prints=False, retry_delay_seconds=0)
async def _leaf_task() -> State[Any]:
    run = _CURRENT.get()
    assert run is not None
    return await run.attempt()


_NOTHING: Any = ResultRecordMetadata.model_construct(storage_key="", serializer=None)
"""The data of every state of a task run. The engine keeps results; without this, Prefect would store a record per
state.
"""
_CURRENT: ContextVar[_TaskRun | None] = ContextVar("current", default=None)
"""The leaf of the current task run, if it is one of ours. Prefect would search a parameter for futures and states."""


def says_more_than_the_state(record: logging.LogRecord) -> bool:
    """Whether a log record is shown and sent; records that only repeat that a task run completed are dropped."""
    finished = record.levelno == logging.INFO and str(record.msg).startswith("Finished in state Completed(")
    return not (finished and _CURRENT.get() is not None)
