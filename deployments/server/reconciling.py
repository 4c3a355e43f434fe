"""Repair of the states that a crash left on a Prefect server: flow runs, task runs and pages of runs that have ended.
A flow run that is Running, Pending or Cancelling without a process gets the final state of its recorded run; a flow run
that never began is scheduled again. Its task runs get final states. Missing pages are written.
"""

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterId,
    FlowRunFilterState,
    FlowRunFilterStateType,
    FlowRunFilterTags,
    TaskRunFilter,
    TaskRunFilterState,
    TaskRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.states import Cancelled, Completed, Crashed, Failed, Scheduled

from deployments.runs import open_run_store
from deployments.screen import how_to_resume
from deployments.server.child_processes import flow_runs_here
from deployments.server.desired import TAG
from deployments.server.findings import Finding
from deployments.server.late_pages import write_missing_pages
from deployments.settings import Settings
from flows.translator import WAITING, Overlap

if TYPE_CHECKING:
    from flows.run_store import RunRecord, RunStore

TOPIC = "runs"
GRACE_S = 45.0
"""The least age of a state in seconds; a younger one may be about to change by itself."""
_LOOKED_AT = 200
"""How many of the newest flow runs and records are compared."""
_GOING = (StateType.RUNNING, StateType.PENDING, StateType.CANCELLING)
_ENDED = (StateType.COMPLETED, StateType.FAILED, StateType.CRASHED, StateType.CANCELLED)


@dataclass(frozen=True)
class _Seen:
    """A flow run with its record."""

    flow_run: FlowRun
    record: "RunRecord | None"
    """The record of the current execution, if it has one already."""
    has_process: bool | None
    """Whether a process runs it; None if this machine cannot find out."""

    @property
    def state(self) -> State[Any]:
        assert self.flow_run.state is not None
        return self.flow_run.state

    @property
    def age_s(self) -> float:
        return time.time() - self.state.timestamp.timestamp()


async def reconcile(client: PrefectClient, settings: Settings, *, repair: bool, local: bool = False) -> list[Finding]:
    """A finding for every flow run whose state differs from the recorded end; with `repair`, the state is corrected.

    `local`: all workers of the server are on this machine, so a flow run without a process here has no process.
    """
    with open_run_store(settings) as store:
        found: list[Finding] = []
        looked = await _look(client, store, local=local)
        for seen in looked:
            wanted = _wanted(seen)
            if wanted is not None:
                found.append(await _correct(client, seen, wanted, repair=repair))
            if repair:
                _agree(store, seen, wanted or seen.state)
        everything = await _look(client, store, local=local) if repair else []
        found += await _task_runs(client, [each.flow_run.id for each in looked], repair=repair)
        if repair:
            over = [each.record for each in everything if each.record and each.state.type in _ENDED]
            found += await write_missing_pages(client, store, over, settings)
    return found


async def _look(client: PrefectClient, store: "RunStore", *, local: bool) -> list[_Seen]:
    """Braid's flow runs that may have a wrong state: unfinished ones, and recently ended ones."""
    records = {each.flow_run_id for each in [*store.recent(limit=_LOOKED_AT), *store.running()] if each.flow_run_id}
    ids = [UUID(each) for each in records]
    known = {
        each.id: each
        for start in range(0, len(ids), _LOOKED_AT)
        for each in await client.read_flow_runs(
            flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=ids[start : start + _LOOKED_AT]))
        )
    }
    ours = FlowRunFilter(
        tags=FlowRunFilterTags(all_=[TAG]),
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=list(_GOING))),
    )
    going = await client.read_flow_runs(
        flow_run_filter=ours, sort=FlowRunSort.EXPECTED_START_TIME_DESC, limit=_LOOKED_AT
    )
    known |= {each.id: each for each in going}
    here = flow_runs_here()
    found: list[_Seen] = []
    for each in known.values():
        if each.state is not None:
            executions = store.executions(str(each.id))
            record = executions[0] if executions and await _begun(client, each, executions) else None
            found.append(_Seen(each, record, _has_process(each, record, here, local=local)))
    return found


async def _begun(client: PrefectClient, flow_run: FlowRun, executions: "Sequence[RunRecord]") -> bool:
    """Whether the current execution is the newest recorded one; Prefect also counts executions that only waited for a
    turn.
    """
    if flow_run.run_count <= len(executions):
        return True
    if Overlap.of(flow_run.tags) is None:
        return False
    states = await client.read_flow_run_states(flow_run.id)
    waits = sum(one.is_running() and after.name == WAITING for one, after in pairwise(states))
    return flow_run.run_count - waits <= len(executions)


def _has_process(flow_run: FlowRun, record: "RunRecord | None", here: Collection[str], *, local: bool) -> bool | None:
    import socket

    if str(flow_run.id) in here:
        return True
    if record is not None:
        return not record.has_lost_its_process(time.time())
    if local and flow_run.deployment_id is not None:
        return False
    host, _, _ = (flow_run.infrastructure_pid or "").partition(":")
    return False if host == socket.gethostname() else None


def _wanted(seen: _Seen) -> State[Any] | None:
    """The state that a flow run should have; None if its state is right, or if the right one is unknown."""
    record, state = seen.record, seen.state
    if seen.has_process is not False:
        return None
    if record is not None and record.status in ("succeeded", "partial", "failed"):
        # Includes runs that their worker marked as Crashed because the process could not report its end.
        newer = state.timestamp.timestamp() > record.started + record.lasted and state.type is StateType.PENDING
        return _ended_as(record) if state.type in (*_GOING, StateType.CRASHED) and not newer else None
    if state.type not in _GOING or (seen.age_s < GRACE_S and record is None):
        return None
    if state.type is StateType.CANCELLING:
        return Cancelled(message="Stopped; its process is gone")
    if record is not None and record.status == "cancelled" and seen.age_s >= GRACE_S:
        return Cancelled(message=f"The run was stopped. {how_to_resume(record.run_id)}")
    if record is not None and (state.type is StateType.RUNNING or record.status == "running"):
        return Crashed(message=f"The process of the run is gone. {how_to_resume(record.run_id)}")
    if seen.age_s < GRACE_S:
        return None
    if state.type is StateType.PENDING:
        return Scheduled(message="No worker had started it: scheduled again")
    return Crashed(message="Its process ended before its first step; go on with Retry")


def _ended_as(record: "RunRecord") -> State[Any]:
    match record.status:
        case "succeeded":
            return Completed(message="The run succeeded; the server was not informed")
        case "partial":
            return Completed(
                name="PartialSuccess", message="The run was a partial success; the server was not informed"
            )
        case _:
            return Failed(message=f"The run failed; the server was not informed. {how_to_resume(record.run_id)}")


async def _correct(client: PrefectClient, seen: _Seen, wanted: State[Any], *, repair: bool) -> Finding:
    flow_run, was = seen.flow_run, seen.state.name
    name = f"{seen.record.run_id}: flow run {flow_run.name!r}" if seen.record else f"flow run {flow_run.name!r}"
    if not repair:
        text = f"{name} reads {was} and should read {wanted.name}; `braid doctor --repair` corrects it"
        return Finding(TOPIC, "warning", text)
    await client.set_flow_run_state(flow_run.id, wanted, force=True)
    return Finding(TOPIC, "ok", f"{name} was {was} and is {wanted.name} now")


def _agree(store: "RunStore", seen: _Seen, state: State[Any]) -> None:
    """Set the status of a run's record without a result to that of its flow run."""
    said = {StateType.CANCELLED: "cancelled", StateType.CRASHED: "crashed"}.get(state.type)
    record = seen.record
    if record is None or said is None or seen.has_process or record.status == said:
        return
    if record.status in ("running", "cancelled", "crashed"):
        store.stop(record.run_id, "cancelled" if said == "cancelled" else "crashed")


async def _task_runs(client: PrefectClient, among: Sequence[UUID], *, repair: bool) -> list[Finding]:
    """Findings for task runs that are unfinished although their flow run has ended."""
    over = FlowRunFilter(
        id=FlowRunFilterId(any_=list(among)),
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=list(_ENDED))),
    )
    open_ = TaskRunFilterStateType(any_=[*_GOING, StateType.SCHEDULED, StateType.PAUSED])
    left = await client.read_task_runs(
        flow_run_filter=over, task_run_filter=TaskRunFilter(state=TaskRunFilterState(type=open_)), limit=_LOOKED_AT
    )
    if not left:
        return []
    ids = {each.flow_run_id for each in left if each.flow_run_id is not None}
    flow_runs = {
        each.id: each
        for each in await client.read_flow_runs(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=list(ids))))
    }
    found: list[Finding] = []
    for task_run in left:
        flow_run = flow_runs.get(task_run.flow_run_id) if task_run.flow_run_id is not None else None
        # The server needs a moment to store a process's last reports.
        if flow_run is None or flow_run.end_time is None or time.time() - flow_run.end_time.timestamp() < GRACE_S:
            continue
        if repair:
            await client.set_task_run_state(task_run.id, _with_its_flow(flow_run), force=True)
        else:
            text = f"task run {task_run.name!r} of {flow_run.name!r} reads {task_run.state_name}, and its run has ended"
            found.append(Finding(TOPIC, "warning", f"{text}; `braid doctor --repair` corrects it"))
    return found


def _with_its_flow(flow_run: FlowRun) -> State[Any]:
    message = f"Its flow run ended {flow_run.state_name}; the end of this step was not reported"
    match flow_run.state_type:
        case StateType.COMPLETED:
            return Completed(message=message)
        case StateType.CRASHED:
            return Crashed(message=message)
        case _:
            return Cancelled(message=message)
