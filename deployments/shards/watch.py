"""Ingest a listing in shards: a deployment run for each, watched to its end, started again where a worker died.

The coordinator keeps nothing that it could not find again: the track says what the shards are, Prefect which runs they
have (an idempotency key a shard), the run store whether their processes live. It can be killed and started at any time.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias
from uuid import UUID

import httpx
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.states import Scheduled

from deployments.server.deploying import SHARDS, TAG
from deployments.shards.tracks import Shard, Track
from flows.author import add_up
from flows.errors import OrchestrationError
from flows.run_store import RunRecord, RunStore

EVERY_S = 1.0
START_S = 180.0
"""A run whose process has written nothing down for so long after it began has lost it."""
ENDING_S = 60.0
"""How long a run that has written down its end may take to tell Prefect."""
UNANSWERED_S = 600.0
"""How long the server may give no good answer."""
UNCLAIMED_S = 60.0
"""How long runs may wait for a worker before somebody is told."""
RESTARTS = 3
"""How often a shard is started again."""
ShardStatus: TypeAlias = Literal["succeeded", "partial", "failed"]
_FINAL = (StateType.COMPLETED, StateType.FAILED, StateType.CANCELLED)


@dataclass
class ShardRun:
    """A shard and its flow run; what it did is known when it has ended."""

    shard: Shard
    flow_run_id: UUID
    state: str = "Scheduled"
    status: ShardStatus | None = None
    message: str = ""
    restarts: int = 0
    seconds: float = 0.0
    """Of all its executions."""
    cost: Mapping[str, float] = field(default_factory=dict[str, float])
    restarted: str = ""
    """The state that it was started again from; nothing is decided twice about one."""


Told: TypeAlias = Callable[[str], None]


async def run_shards(
    client: PrefectClient,
    track: Track,
    *,
    deployment_id: UUID,
    parameters: Mapping[str, Any],
    store: RunStore,
    told: Told = lambda line: None,
    start_s: float = START_S,
) -> list[ShardRun]:
    """Start what has not been started, and wait until every shard has ended; `told` hears what happens.

    `parameters` are those of all shards' runs, besides their source.
    """
    runs: list[ShardRun] = []
    watch = _Watch(client, store, told, start_s, began=time.time())
    answered, silent = time.monotonic(), False
    while True:
        try:
            for shard in track.shards[len(runs) :]:
                runs.append(await _started(client, track, shard, deployment_id, parameters))
            await watch.look(runs)
            answered, silent = time.monotonic(), False
        except httpx.HTTPError as error:
            # A server under load, or started again: the runs go on meanwhile, and nothing here is done twice.
            if not _passes(error) or time.monotonic() - answered > UNANSWERED_S:
                raise OrchestrationError(
                    f"the Prefect server does not answer ({error}); the shards go on: give the same command again"
                ) from error
            if not silent:
                told(f"the Prefect server does not answer, asking again: {str(error).splitlines()[0]}")
            silent = True
        if len(runs) == len(track.shards) and all(run.status is not None for run in runs):
            return runs
        await asyncio.sleep(5 * EVERY_S if silent else EVERY_S)


def _passes(error: httpx.HTTPError) -> bool:
    return not isinstance(error, httpx.HTTPStatusError) or error.response.status_code >= 500


async def _started(
    client: PrefectClient, track: Track, shard: Shard, deployment_id: UUID, parameters: Mapping[str, Any]
) -> ShardRun:
    """The flow run of a shard, made unless it is there already."""
    made = await client.create_flow_run_from_deployment(
        deployment_id,
        parameters={**parameters, "source": shard.source},
        name=f"{track.id} · shard {shard.number} of {len(track.shards)}",
        tags=[TAG, SHARDS],
        idempotency_key=f"braid-{track.id}-{shard.number}",
        state=Scheduled(),
    )
    return ShardRun(shard, made.id)


@dataclass
class _Watch:
    """Looks at flow runs and decides which have ended and which are to be started again."""

    client: PrefectClient
    store: RunStore
    told: Told
    start_s: float
    began: float
    warned: bool = False

    async def look(self, runs: list[ShardRun]) -> None:
        open_runs = {run.flow_run_id: run for run in runs if run.status is None}
        found = await self._read(open_runs)
        for flow_run in found:
            await self._judge(open_runs.pop(flow_run.id), flow_run, len(runs))
        for run in open_runs.values():
            await self._end(run, "failed", "its flow run is no longer on the server", len(runs))
        waiting = all(run.state in ("Scheduled", "Late") for run in runs)
        if waiting and not self.warned and time.time() - self.began > UNCLAIMED_S:
            self.warned = True
            self.told("no worker has taken a shard yet; start one with: prefect worker start --pool POOL")

    async def _read(self, wanted: Iterable[UUID]) -> list[FlowRun]:
        ids = list(wanted)
        found: list[FlowRun] = []
        for start in range(0, len(ids), 100):
            some = FlowRunFilter(id=FlowRunFilterId(any_=ids[start : start + 100]))
            found += await self.client.read_flow_runs(flow_run_filter=some)
        return found

    async def _judge(self, run: ShardRun, flow_run: FlowRun, total: int) -> None:
        state = flow_run.state
        if state is None:
            return
        name = state.name or state.type.value
        if name != run.state:
            run.state = name
            self.told(f"shard {run.shard.number} of {total}: {name}")
        if state.type in _FINAL:
            partial = state.name == "PartialSuccess"
            status = ("partial" if partial else "succeeded") if state.type == StateType.COMPLETED else "failed"
            await self._end(run, status, state.message or "", total)
            return
        why = await self._lost(flow_run, run)
        if why is None:
            return
        run.restarted = str(state.id)
        if run.restarts >= RESTARTS:
            await self._end(run, "failed", f"{why}, for the {run.restarts + 1}th time", total)
            return
        run.restarts += 1
        self.told(f"shard {run.shard.number} of {total}: {why}; it is started again and goes on where it was")
        again = Scheduled(message=f"Started again: {why}")
        await self.client.set_flow_run_state(flow_run.id, again, force=True)

    async def _lost(self, flow_run: FlowRun, run: ShardRun) -> str | None:
        """Why nobody works on a run any more; None if somebody does, or may begin to."""
        state = flow_run.state
        if state is None or str(state.id) == run.restarted:
            return None
        if state.type == StateType.CRASHED:
            return "its process ended"
        if state.type not in (StateType.PENDING, StateType.RUNNING):
            return None
        since = state.timestamp.timestamp()
        record = await asyncio.to_thread(self.store.of_flow_run, str(flow_run.id))
        if state.type == StateType.RUNNING and record is not None and record.started >= since - 1:
            # What is written down is of this execution; an older record would be of the one before.
            if record.status == "running":
                return None if record.is_alive(time.time()) else "its process is gone"
            ended = record.started + (record.seconds or 0.0)
            return "its process was gone before it had reported its end" if time.time() - ended > ENDING_S else None
        return "its process has not begun" if time.time() - since > self.start_s else None

    async def _end(self, run: ShardRun, status: ShardStatus, message: str, total: int) -> None:
        run.status, run.message = status, message
        records = await asyncio.to_thread(_records, self.store, str(run.flow_run_id))
        run.seconds = sum(record.lasted for record in records)
        run.cost = add_up([await asyncio.to_thread(self.store.spent, record) for record in records])
        run.restarts = max(run.restarts, len(records) - 1)
        self.told(f"shard {run.shard.number} of {total}: {status}")


def _records(store: RunStore, flow_run_id: str) -> list[RunRecord]:
    """The executions of a flow run, the first one first."""
    last = store.of_flow_run(flow_run_id)
    return store.chain(last.chain) if last is not None else []
