"""Runs that still count as running although their process is gone: in the run store, and on the Prefect server."""

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from uuid import UUID

from deployments.runs import open_run_store
from deployments.screen import how_to_resume
from deployments.server.findings import Finding
from deployments.settings import Settings

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient

    from flows.run_store import RunRecord, RunStore

TOPIC = "runs"
_LOOKED_AT = 200
"""The newest runs, whose state on the server is compared with the run store."""


def stored_zombies(settings: Settings, *, repair: bool) -> Iterator[Finding]:
    """A finding for each run of the run store whose process is gone; with `repair`, it is marked as interrupted."""
    with open_run_store(settings) as store:
        running = store.running()
        zombies = [record for record in running if not record.is_alive(time.time())]
        for record in zombies:
            marked = repair and store.interrupt(record.run_id)
            yield Finding(TOPIC, "ok" if marked else "warning", _zombie_text(record, store, marked))
        for record in running:
            for step in store.running_branches(record.run_id) if record not in zombies else ():
                if step.stuck:
                    text = f"{record.run_id}: {step.step_id} gives no sign of progress; see `braid runs show`"
                    yield Finding(TOPIC, "warning", text)
    yield Finding(TOPIC, "ok", f"{len(running) - len(zombies)} running")


async def server_zombies(client: "PrefectClient", settings: Settings, *, repair: bool) -> list[Finding]:
    """A finding for each flow run that is Running on the server although its run has ended or lost its process.

    With `repair`, the flow run gets the state in which its run ended, or Crashed with the command that resumes it.
    """
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId, FlowRunFilterState
    from prefect.client.schemas.filters import FlowRunFilterStateType as OfType
    from prefect.client.schemas.objects import StateType

    with open_run_store(settings) as store:
        newest: dict[str, RunRecord] = {}
        for record in [*store.recent(limit=_LOOKED_AT), *store.running()]:
            if record.flow_run_id is not None:
                newest.setdefault(record.flow_run_id, record)
    gone = {flow_run: record for flow_run, record in newest.items() if record.has_lost_its_process(time.time())}
    if not gone:
        return []
    chosen = FlowRunFilter(
        id=FlowRunFilterId(any_=[UUID(flow_run) for flow_run in gone]),
        state=FlowRunFilterState(type=OfType(any_=[StateType.RUNNING, StateType.PENDING, StateType.CANCELLING])),
    )
    found: list[Finding] = []
    for flow_run in await client.read_flow_runs(flow_run_filter=chosen):
        record, was = gone[str(flow_run.id)], flow_run.state_name
        if repair:
            state = _state(record)
            await client.set_flow_run_state(flow_run.id, state, force=True)
            found.append(Finding(TOPIC, "ok", f"{record.run_id}: flow run {flow_run.name!r} is {state.name} now"))
        else:
            text = f"{record.run_id}: flow run {flow_run.name!r} reads {was}; `braid doctor --repair` corrects it"
            found.append(Finding(TOPIC, "warning", text))
    return found


def _state(record: "RunRecord") -> Any:
    from prefect.states import Completed, Crashed, Failed

    match record.status:
        case "succeeded":
            return Completed(message="The run succeeded; the server was not informed")
        case "partial":
            return Completed(
                name="PartialSuccess", message="The run was a partial success; the server was not informed"
            )
        case "failed":
            return Failed(message=f"The run failed; the server was not informed. {how_to_resume(record.run_id)}")
        case _:
            return Crashed(message=f"The process of the run is gone. {how_to_resume(record.run_id)}")


def _zombie_text(record: "RunRecord", store: "RunStore", marked: bool) -> str:
    where = ", ".join(step.step_id for step in store.running_branches(record.run_id)) or "between two steps"
    text = f"{record.run_id} ({record.pipeline}): process {record.process} on {record.host} is gone; it was at {where}"
    if marked:
        return f"{text}. It is marked as interrupted. {how_to_resume(record.run_id)}"
    return f"{text}; `braid doctor --repair` marks it, `braid resume {record.run_id}` goes on"
