"""Limits the concurrent runs of a pipeline per index; further runs wait for their turn, or are cancelled.

With Prefect's own limit per deployment, the ingestion of one index would wait for that of another. So a run checks for
its turn when its process has started: it holds a seat in a global concurrency limit of its pipeline and index. Without
a free seat, it is scheduled again and its process ends, so that it occupies no slot of the worker. A run that ends
wakes the waiting run that was due first.
"""

import logging
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal, Self
from uuid import UUID

from prefect import get_client
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterId,
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateName,
)
from prefect.client.schemas.objects import FlowRun, State
from prefect.client.schemas.sorting import FlowRunSort
from prefect.context import FlowRunContext
from prefect.exceptions import Pause
from prefect.states import Cancelled, Scheduled

from flows.storage import file_locked
from flows.translator.seats import PREFIX, PrefectSeats

logger = logging.getLogger(__name__)
OVERLAP_TAG = "braid-overlap:"
_TURN = "run:"
TURNS = PREFIX + _TURN
"""The beginning of the names of the limits by which runs take turns."""
WAITING = "AwaitingTurn"
AGAIN_S = 120.0
"""Seconds after which the first waiting run checks by itself, in case the run before it was killed; the second waits
twice as long.
"""
_LATE_S = 60.0
"""A waiting run that is late by more than this has no worker, and others do not wait for it."""
_SEEN = 200


@dataclass(frozen=True)
class Turns:
    """Determines from the parameters of a run which other runs it takes turns with."""

    index_of: Callable[[Mapping[str, Any]], str]
    """The index that a run works on."""
    lock_of: Callable[[Mapping[str, Any]], Path | None] = lambda parameters: None
    """A file that processes without a server, such as `braid watch`, lock while they do the same work on this machine.
    """


@dataclass(frozen=True)
class Overlap:
    """How many runs of a pipeline may run on one index at the same time, and what happens to further runs."""

    then: Literal["enqueue", "cancel_new"]
    max_runs: int

    @property
    def tag(self) -> str:
        """The tag with which the deployment passes this setting to its runs."""
        return f"{OVERLAP_TAG}{self.then}:{self.max_runs}"

    @classmethod
    def of(cls, tags: Iterable[str]) -> Self | None:
        """The setting in the tags of a flow run or deployment; None lets runs overlap."""
        for tag in tags:
            then, _, number = tag.removeprefix(OVERLAP_TAG).partition(":")
            if tag.startswith(OVERLAP_TAG) and then in ("enqueue", "cancel_new") and number.isdecimal():
                return cls(then, int(number))
        return None


@asynccontextmanager
async def turn(pipeline: str, parameters: Mapping[str, Any], turns: Turns | None) -> AsyncGenerator[State[Any] | None]:
    """Hold the turn of the current flow run inside the block; yields the final state if the run is refused, else None.

    Raises:
        Pause: the run waits, and its process should end.
        TransientError: the server does not answer.
    """
    if turns is None:
        yield None
        return
    async with _turn_on_server(pipeline, parameters, turns) as refused:
        if refused is not None:
            yield refused
            return
        if (path := turns.lock_of(parameters)) is None:
            yield None
            return
        async with file_locked(
            path, on_wait=lambda: logger.info("waits for another process that ingests the same source")
        ):
            yield None


@asynccontextmanager
async def _turn_on_server(
    pipeline: str, parameters: Mapping[str, Any], turns: Turns
) -> AsyncGenerator[State[Any] | None]:
    context = FlowRunContext.get()
    flow_run = context.flow_run if context is not None else None
    overlap = Overlap.of(flow_run.tags) if flow_run is not None else None
    if flow_run is None or overlap is None:
        yield None
        return
    index = turns.index_of(parameters)
    name = f"{_TURN}{pipeline}:{index}"
    async with get_client() as client, PrefectSeats({name: overlap.max_runs}) as seats:
        before = await _waiting(client, flow_run, index, turns) if overlap.then == "enqueue" else []
        before = [each for each in before if _is_before(each, flow_run)]
        if before:
            await _wait(client, flow_run, index, len(before))
        is_ours = False
        try:
            async with seats.seat_if_free(name, overlap.max_runs) as is_ours:
                if not is_ours and overlap.then == "enqueue":
                    await _wait(client, flow_run, index, 0)
                yield None if is_ours else Cancelled(message=f"Another run works on the index {index!r}")
        finally:
            if is_ours:  # it has been released at this point
                await _wake_next(client, flow_run, index, turns)


async def _waiting(client: PrefectClient, flow_run: FlowRun, index: str, turns: Turns) -> list[FlowRun]:
    """The other runs of the deployment that wait for a turn on the index, those due earliest first."""
    if flow_run.deployment_id is None:
        return []
    found = await client.read_flow_runs(
        deployment_filter=DeploymentFilter(id=DeploymentFilterId(any_=[flow_run.deployment_id])),
        flow_run_filter=FlowRunFilter(state=FlowRunFilterState(name=FlowRunFilterStateName(any_=[WAITING]))),
        sort=FlowRunSort.EXPECTED_START_TIME_ASC,
        limit=_SEEN,
    )
    return [each for each in found if each.id != flow_run.id and turns.index_of(each.parameters) == index]


def _is_before(other: FlowRun, flow_run: FlowRun) -> bool:
    """Whether a waiting run was due earlier and has a worker that will start it."""
    due = other.next_scheduled_start_time
    if due is None or due < _now() - timedelta(seconds=_LATE_S):
        return False
    return _order(other) < _order(flow_run)


def _order(flow_run: FlowRun) -> tuple[datetime, UUID]:
    return flow_run.expected_start_time or _now(), flow_run.id


async def _wait(client: PrefectClient, flow_run: FlowRun, index: str, before: int) -> None:
    ahead = f"; {before} {'run was' if before == 1 else 'runs were'} due before it" if before else ""
    state: State[Any] = Scheduled(
        name=WAITING,
        scheduled_time=_now() + timedelta(seconds=AGAIN_S * (before + 1)),
        message=f"Waits for its turn on the index {index!r}{ahead}",
    )
    await client.set_flow_run_state(flow_run.id, state)
    logging.getLogger("prefect.flow_runs").addFilter(_as_no_error)
    raise Pause(state=state)


def _as_no_error(record: logging.LogRecord) -> bool:
    """Lets a wait read INFO in the log: Prefect writes ERROR for each state in which a process ends but Completed."""
    if str(record.msg).startswith(f"Finished in state {WAITING}("):
        record.levelno, record.levelname = logging.INFO, logging.getLevelName(logging.INFO)
    return True


async def _wake_next(client: PrefectClient, flow_run: FlowRun, index: str, turns: Turns) -> None:
    """Let the worker start the run that was due first; without this, that run checks by itself later."""
    try:
        for each in (await _waiting(client, flow_run, index, turns))[:1]:
            message = each.state.message if each.state is not None else None
            await client.set_flow_run_state(each.id, Scheduled(name=WAITING, scheduled_time=_now(), message=message))
    except Exception as error:  # the client may raise any error when the server is unreachable
        logger.warning("the next run on the index %s could not be woken: %s", index, error)


def _now() -> datetime:
    return datetime.now(UTC)
