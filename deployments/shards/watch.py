"""Watch the flow runs of all shards until they have ended; a shard whose worker died is started again.

The coordinator keeps no state of its own. The track lists the shards, the server lists their runs (each shard has an
idempotency key), and the run store knows whether their processes live. So the coordinator can be killed and started
at any time.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

from deployments.shards.flow_runs import FlowRunState, ShardServer
from deployments.shards.tracks import Shard, Track
from flows.author import add_up
from flows.errors import OrchestrationError, TransientError

if TYPE_CHECKING:
    from flows.run_store import RunRecord, RunStore

EVERY_S = 1.0
START_S = 180.0
"""Seconds after the start of a run without any record, after which its process counts as lost."""
ENDING_S = 60.0
"""The most seconds between the recorded end of a run and its final state on the server."""
UNANSWERED_S = 600.0
"""The most seconds without a valid answer of the server."""
UNCLAIMED_S = 60.0
"""Seconds that all runs wait for a worker before a hint is printed."""
RESTARTS = 3
"""How many times a shard is restarted."""
ShardStatus: TypeAlias = Literal["succeeded", "partial", "failed"]
Announce: TypeAlias = Callable[[str], None]
"""Receives a line for each event."""
_FINAL = ("COMPLETED", "FAILED", "CANCELLED")


@dataclass
class ShardRun:
    """A shard and its flow run; `seconds` and `cost` are known when it has ended."""

    shard: Shard
    flow_run_id: str
    state: str = "Scheduled"
    status: ShardStatus | None = None
    message: str = ""
    restarts: int = 0
    seconds: float = 0.0
    """The sum over all its executions."""
    cost: Mapping[str, float] = field(default_factory=dict[str, float])
    run_ids: tuple[str, ...] = ()
    """The sum over all its executions."""
    restarted: str = ""
    """The id of the state from which it was last restarted; that state is not judged again."""


async def run_shards(
    server: ShardServer,
    track: Track,
    *,
    store: "RunStore",
    announce: Announce = lambda line: None,
) -> list[ShardRun]:
    """Start the shards that have not been started, and wait until every shard has ended.

    Raises:
        OrchestrationError: the server refuses, or has given no good answer for ten minutes; the shards go on.
    """
    runs: list[ShardRun] = []
    watch = _ShardWatch(server, store, announce, len(track.shards), began=time.time())
    answered, silent = time.monotonic(), False
    while True:
        try:
            for shard in track.shards[len(runs) :]:
                runs.append(await _start(server, track, shard))
            await watch.look(runs)
            answered, silent = time.monotonic(), False
        except OrchestrationError as error:
            # The server is overloaded or restarting. The runs continue meanwhile, and repeating these operations is
            # safe.
            if not isinstance(error, TransientError) or time.monotonic() - answered > UNANSWERED_S:
                raise OrchestrationError(f"{error}; the shards go on: repeat the command to watch them") from error
            if not silent:
                announce(f"{error}; asking again")
            silent = True
        if len(runs) == len(track.shards) and all(run.status is not None for run in runs):
            return runs
        await asyncio.sleep(5 * EVERY_S if silent else EVERY_S)


async def _start(server: ShardServer, track: Track, shard: Shard) -> ShardRun:
    """The flow run of a shard, created if missing."""
    flow_run_id = await server.start(
        f"{track.id} · shard {shard.number} of {len(track.shards)}",
        shard.source,
        key=f"braid-{track.id}-{shard.number}",
    )
    return ShardRun(shard, flow_run_id)


@dataclass
class _ShardWatch:
    """Checks flow runs, and decides which have ended and which must be restarted."""

    server: ShardServer
    store: "RunStore"
    announce: Announce
    shards: int
    began: float
    warned: bool = False

    async def look(self, runs: list[ShardRun]) -> None:
        open_runs = {run.flow_run_id: run for run in runs if run.status is None}
        for state in await self.server.states(list(open_runs)):
            await self._judge(open_runs.pop(state.flow_run_id), state)
        for run in open_runs.values():
            await self._end(run, "failed", "its flow run is no longer on the server")
        waiting = all(run.state in ("Scheduled", "Late") for run in runs)
        if waiting and not self.warned and time.time() - self.began > UNCLAIMED_S:
            self.warned = True
            self.announce("no worker has taken a shard yet; start one with: prefect worker start --pool POOL")

    async def _judge(self, run: ShardRun, state: FlowRunState) -> None:
        if state.name != run.state:
            run.state = state.name
            self._announce(run, state.name)
        if state.type in _FINAL:
            partial = state.name == "PartialSuccess"
            status = ("partial" if partial else "succeeded") if state.type == "COMPLETED" else "failed"
            await self._end(run, status, state.message)
            return
        reason = await self._loss(run, state)
        if reason is None:
            return
        run.restarted = state.state_id
        if run.restarts >= RESTARTS:
            await self._end(run, "failed", f"{reason}, for the {run.restarts + 1}th time")
            return
        run.restarts += 1
        self._announce(run, f"{reason}; it is started again and goes on where it was")
        await self.server.start_again(run.flow_run_id, f"Started again: {reason}")

    async def _loss(self, run: ShardRun, state: FlowRunState) -> str | None:
        """The reason why a run has lost its process; None if a process runs it or may still begin."""
        if state.state_id == run.restarted:
            return None
        if state.type == "CRASHED":
            return "its process ended"
        if state.type not in ("PENDING", "RUNNING"):
            return None
        record = await asyncio.to_thread(self.store.of_flow_run, run.flow_run_id)
        if state.type == "RUNNING" and record is not None and record.started >= state.since - 1:
            # Only a record of this execution counts; an older record belongs to the previous execution.
            if record.status == "running":
                return None if record.is_alive(time.time()) else "its process is gone"
            ended = record.started + (record.seconds or 0.0)
            return "its process was gone before it had reported its end" if time.time() - ended > ENDING_S else None
        return "its process has not started" if time.time() - state.since > START_S else None

    async def _end(self, run: ShardRun, status: ShardStatus, message: str) -> None:
        run.status, run.message = status, message
        records = await asyncio.to_thread(_executions, self.store, run.flow_run_id)
        run.seconds = sum(record.lasted for record in records)
        run.run_ids = tuple(record.run_id for record in records)
        run.cost = add_up([await asyncio.to_thread(self.store.spent, record) for record in records])
        run.restarts = max(run.restarts, len(records) - 1)
        self._announce(run, status)

    def _announce(self, run: ShardRun, event: str) -> None:
        self.announce(f"shard {run.shard.number} of {self.shards}: {event}")


def _executions(store: "RunStore", flow_run_id: str) -> "list[RunRecord]":
    """The executions of a flow run, the first one first."""
    last = store.of_flow_run(flow_run_id)
    return store.chain(last.chain) if last is not None else []
