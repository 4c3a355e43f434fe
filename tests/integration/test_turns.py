"""Flow runs wait for their turn on their index, not for other indexes, and those due first come first."""

import asyncio
import logging
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from flows.author import Registry, handler
from flows.engine import Prepared
from flows.errors import FatalError
from flows.model import Pipeline
from flows.planning import make_plan
from flows.state import Context

pytestmark = [
    pytest.mark.usefixtures("prefect_server"),
    # Prefect's own event and log clients leave sockets to the garbage collector when an event loop ends.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning"),
]


class Nights:
    """A deployment whose runs wait until they are released, and its flow runs, which this process executes."""

    def __init__(self, overlap: str) -> None:
        from flows.translator import INDEX, Turns, translate

        self.begun: list[str] = []
        self.let_go = asyncio.Event()
        self.fails = False
        self.lock: Path | None = None
        made = Registry()

        @handler(registry=made)
        async def works() -> None:
            if self.fails:
                raise FatalError("the disk is full")
            await self.let_go.wait()

        self.overlap = overlap
        self.pipeline = Pipeline.model_validate({"name": f"night-{uuid4().hex[:8]}", "steps": ["works"]})
        plan = make_plan(self.pipeline, registry=made, given={})

        def prepare(given: Mapping[str, Any]) -> Prepared:
            self.begun.append(str(given["index"]))
            return Prepared(plan, Context({}))

        turns = Turns(lambda given: str(given["index"]), lambda given: self.lock)
        self.flow = translate(self.pipeline, prepare, controls=[INDEX], turns=turns)

    async def deploy(self, client: Any) -> None:
        from flows.translator import Overlap

        flow_id = await client.create_flow(self.flow)
        tags = [] if self.overlap == "allow" else [Overlap(self.overlap, 1).tag]  # type: ignore[arg-type]
        self.deployment = await client.create_deployment(flow_id, "night", tags=tags, entrypoint="x.py:x")

    async def due(self, client: Any, index: str) -> UUID:
        return (await client.create_flow_run_from_deployment(self.deployment, parameters={"index": index})).id

    async def carry_out(self, client: Any, flow_run: UUID) -> str:
        """Run a due flow run as a worker would; return the name of its final state."""
        from prefect.exceptions import Pause
        from prefect.flow_engine import run_flow_async
        from prefect.states import Pending

        await client.set_flow_run_state(flow_run, Pending())
        found = await client.read_flow_run(flow_run)
        with suppress(Pause):
            await run_flow_async(self.flow, flow_run=found, parameters=found.parameters, return_type="state")
        return await self.state(client, flow_run)

    async def state(self, client: Any, flow_run: UUID) -> str:
        return str((await client.read_flow_run(flow_run)).state_name)

    async def levels_of(self, client: Any, flow_run: UUID, text: str) -> list[int]:
        """The levels of a run's log lines with this prefix; waits for one, since logs are sent in batches."""
        from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId

        async with asyncio.timeout(60):
            while True:
                lines = await client.read_logs(LogFilter(flow_run_id=LogFilterFlowRunId(any_=[flow_run])))
                if found := [line.level for line in lines if line.message.startswith(text)]:
                    return found
                await asyncio.sleep(0.2)

    async def starts_at(self, client: Any, flow_run: UUID) -> Any:
        return (await client.read_flow_run(flow_run)).next_scheduled_start_time

    async def until(self, client: Any, flow_run: UUID, name: str) -> None:
        async with asyncio.timeout(60):
            while await self.state(client, flow_run) != name:
                await asyncio.sleep(0.1)


async def test_a_run_waits_for_its_index_only_and_the_retried_one_that_was_due_first_comes_first() -> None:
    from prefect import get_client
    from prefect.states import Scheduled

    nights = Nights("enqueue")
    async with get_client() as client:
        await nights.deploy(client)
        nights.fails = True
        retried = await nights.due(client, "manuals")
        assert await nights.carry_out(client, retried) == "Failed"
        nights.fails = False

        going = asyncio.ensure_future(nights.carry_out(client, first := await nights.due(client, "manuals")))
        await nights.until(client, first, "Running")
        while nights.begun != ["manuals", "manuals"]:
            await asyncio.sleep(0.05)
        later = await nights.due(client, "manuals")
        assert await nights.carry_out(client, later) == "AwaitingTurn"
        await client.set_flow_run_state(retried, Scheduled(name="AwaitingRetry"), force=True)
        assert await nights.carry_out(client, retried) == "AwaitingTurn"
        nights.let_go.set()
        assert await nights.carry_out(client, await nights.due(client, "contracts")) == "Completed"
        assert await going == "Completed"

        # It has woken the one that was due first; a new one waits behind it, although the place is free.
        assert await nights.starts_at(client, retried) < await nights.starts_at(client, later)
        newest = await nights.due(client, "manuals")
        assert await nights.carry_out(client, newest) == "AwaitingTurn"
        assert "; 2 runs were due before it" in str((await client.read_flow_run(newest)).state)
        assert await nights.levels_of(client, newest, "Finished in state AwaitingTurn") == [logging.INFO]
        assert await nights.carry_out(client, retried) == "Completed"
        assert await nights.carry_out(client, later) == "Completed"
    assert nights.begun == ["manuals", "manuals", "contracts", "manuals", "manuals"]


async def test_a_run_that_finds_another_on_its_index_is_cancelled_where_that_was_asked_for() -> None:
    from prefect import get_client

    nights = Nights("cancel_new")
    async with get_client() as client:
        await nights.deploy(client)
        going = asyncio.ensure_future(nights.carry_out(client, await nights.due(client, "manuals")))
        while not nights.begun:
            await asyncio.sleep(0.05)
        assert await nights.carry_out(client, await nights.due(client, "manuals")) == "Cancelled"
        nights.let_go.set()
        assert await going == "Completed"
    assert nights.begun == ["manuals"]


async def test_a_run_waits_for_who_does_the_same_without_a_server(tmp_path: Path) -> None:
    from prefect import get_client

    from flows.storage import file_locked

    nights = Nights("allow")
    nights.let_go.set()
    nights.lock = tmp_path / "locks" / "source-manuals.lock"
    async with get_client() as client:
        await nights.deploy(client)
        async with file_locked(nights.lock):  # as `braid watch` holds it
            going = asyncio.ensure_future(nights.carry_out(client, run := await nights.due(client, "manuals")))
            await nights.until(client, run, "Running")
            await asyncio.sleep(0.5)
            assert nights.begun == []
        assert await going == "Completed"
    assert nights.begun == ["manuals"]
