"""Runs whose process is gone although they still read running: in the run store, and on the Prefect server."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from uuid import UUID

from deployments.server.findings import Finding
from deployments.settings import Settings

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient

    from flows.run_store import RunRecord, RunStore

TOPIC = "runs"
_LOOKED_AT = 200
"""How many of the newest runs are compared with what the server says of them."""


def stored_zombies(settings: Settings, *, repair: bool) -> Iterator[Finding]:
    """The runs of the run store that read running and whose process is gone; with `repair`, they are marked."""
    with _open(settings) as store:
        running = store.running()
        zombies = [record for record in running if not record.is_alive(time.time())]
        for record in zombies:
            marked = repair and store.interrupt(record.run_id)
            yield Finding(TOPIC, "ok" if marked else "warning", _told(record, store, marked))
        for record in running:
            for step in store.running_branches(record.run_id) if record not in zombies else ():
                if step.stuck:
                    text = f"{record.run_id}: {step.step_id} gives no sign of progress; see `braid runs show`"
                    yield Finding(TOPIC, "warning", text)
    yield Finding(TOPIC, "ok", f"{len(running) - len(zombies)} running")


async def server_zombies(client: "PrefectClient", settings: Settings, *, repair: bool) -> list[Finding]:
    """The flow runs that read Running on the server although their run has ended or its process is gone.

    With `repair` they get the state that their run has: Crashed with the way to go on, or how it ended.
    """
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId, FlowRunFilterState
    from prefect.client.schemas.filters import FlowRunFilterStateType as OfType
    from prefect.client.schemas.objects import StateType

    with _open(settings) as store:
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


def way_on(run_id: str) -> str:
    return f"What had been finished is kept; go on with `braid resume {run_id}`"


def _state(record: "RunRecord") -> Any:
    from prefect.states import Completed, Crashed, Failed

    match record.status:
        case "succeeded":
            return Completed(message="The run succeeded; the server was not told")
        case "partial":
            return Completed(name="PartialSuccess", message="The run ended so; the server was not told")
        case "failed":
            return Failed(message=f"The run failed; the server was not told. {way_on(record.run_id)}")
        case _:
            return Crashed(message=f"The process of the run is gone. {way_on(record.run_id)}")


def _told(record: "RunRecord", store: "RunStore", marked: bool) -> str:
    where = ", ".join(step.step_id for step in store.running_branches(record.run_id)) or "between two steps"
    text = f"{record.run_id} ({record.pipeline}): process {record.process} on {record.host} is gone; it was at {where}"
    if marked:
        return f"{text}. It is marked as interrupted. {way_on(record.run_id)}"
    return f"{text}; `braid doctor --repair` marks it, `braid resume {record.run_id}` goes on"


@contextmanager
def _open(settings: Settings) -> "Iterator[RunStore]":
    from flows.run_store import RunStore  # SQLAlchemy takes a while to import

    store = RunStore(settings.run_store_url)
    try:
        yield store
    finally:
        store.close()
