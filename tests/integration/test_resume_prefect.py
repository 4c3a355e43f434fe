"""Retry of a flow run, as the button in the UI or `prefect flow-run retry` do it: only what did not succeed runs again."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from flows.author import Registry, handler
from flows.engine import Prepared
from flows.errors import FatalError
from flows.model import Pipeline
from flows.planning import make_plan
from flows.run_store import Recorder, RunStore
from flows.state import Context, Identity

pytestmark = [
    pytest.mark.usefixtures("prefect_server"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning"),
]
PIPELINE = Pipeline.model_validate(
    {
        "name": "retried",
        "steps": [
            "begin",
            {
                "for_each": "items",
                "id": "each",
                "max_concurrency": 3,
                "tolerated_failure": 9,
                "collect": ["doubled"],
                "steps": ["double"],
            },
            {"handler": "end"},
        ],
    }
)


def test_a_retried_flow_run_does_only_what_had_not_succeeded(tmp_path: Path) -> None:
    from prefect import get_client
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
    from prefect.flow_engine import run_flow
    from prefect.states import Scheduled

    from flows.translator import current_flow_run_id, translate

    registry, calls, url = Registry(), list[Any](), f"sqlite:///{tmp_path / 'runs.db'}"

    @handler(registry=registry, writes="items")
    def begin() -> list[int]:
        calls.append("begin")
        return list(range(10))

    @handler(registry=registry, writes="doubled")
    def double(item: int) -> int:
        calls.append(item)
        if item == 7 and calls.count(7) == 1:
            raise ConnectionResetError("gone")
        return item * 2

    @handler(registry=registry, writes="total")
    def end(doubled: list[int]) -> int:
        calls.append("end")
        if len(doubled) < 10:
            raise FatalError("one is missing")
        return sum(doubled)

    numbers = iter(range(10))

    def prepare(parameters: Mapping[str, Any]) -> Prepared:
        flow_run_id = current_flow_run_id()
        assert flow_run_id is not None
        store = RunStore(url)
        recorder = Recorder(store, flow_run_id=flow_run_id, resumes=store.of_flow_run(flow_run_id))
        context = Context(identity=Identity("retried", f"run-{next(numbers)}"))
        return Prepared(make_plan(PIPELINE, registry=registry), context, recorder, journal=recorder)

    flow = translate(PIPELINE, prepare)

    async def states_and_tasks(flow_run_id: Any) -> tuple[str | None, list[str]]:
        async with get_client() as client:
            flow_run = await client.read_flow_run(flow_run_id)
            assert flow_run.state is not None
            found: list[Any] = []
            for _ in range(100):
                found = await client.read_task_runs(
                    flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[flow_run_id])), limit=200
                )
                if len(found) >= expected:
                    break
                await asyncio.sleep(0.2)
            return flow_run.state.name, sorted(task_run.name for task_run in found)

    async def once(flow_run: Any) -> None:
        begun: Any = run_flow(flow, flow_run=flow_run, return_type="state")
        await begun

    async def first() -> Any:
        async with get_client() as client:
            made = await client.create_flow_run(flow)
        await once(made)
        return made.id

    async def again(flow_run_id: Any) -> None:
        async with get_client() as client:
            await client.set_flow_run_state(flow_run_id, Scheduled(message="Retried"), force=True)
            flow_run = await client.read_flow_run(flow_run_id)
        await once(flow_run)

    expected = 12
    flow_run_id = asyncio.run(first())
    state, tasks = asyncio.run(states_and_tasks(flow_run_id))
    assert state == "Failed"
    assert len(tasks) == 12
    assert sorted(calls, key=str) == [*range(10), "begin", "end"]

    calls.clear()
    calls.append(7)  # it has been called before: now it works
    expected = 14
    asyncio.run(again(flow_run_id))
    state, tasks = asyncio.run(states_and_tasks(flow_run_id))
    assert state == "Completed"
    assert calls[1:] == [7, "end"]
    # The task runs of the first attempt and of the repeated steps; reused steps have no second task run.
    assert [name for name in tasks if tasks.count(name) > 1] == ["double · item 8 of 10"] * 2 + ["end"] * 2
    store = RunStore(url)
    newest, oldest = store.recent()
    assert (
        (newest.resumed_from, newest.flow_run_id) == (oldest.run_id, oldest.flow_run_id) == ("run-0", str(flow_run_id))
    )
    assert sum(1 for row in store.outcomes(newest.run_id) if row["reused"]) == 10
    store.close()
