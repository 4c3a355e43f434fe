"""Limits that several processes share: on a real Prefect server and in a real database."""

import asyncio
import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from flows.author import Registry, RunResult, handler
from flows.engine import Prepared
from flows.errors import TransientError
from flows.limits import SlotRequest
from flows.model import Pipeline, Resource
from flows.planning import Overrides, make_plan
from flows.run_store import DatabaseRates
from flows.state import Context
from tests.support.paths import ROOT

prefect = [
    pytest.mark.usefixtures("prefect_server"),
    # Prefect's own event and log clients leave sockets to the garbage collector when an event loop ends.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning"),
]


def with_prefect(test: Any) -> Any:
    for mark in prefect:
        test = mark(test)
    return test


def most_in_a_window(moments: Sequence[float], window_s: float) -> int:
    return max(sum(1 for other in moments if moment <= other <= moment + window_s) for moment in moments)


def most_at_once(notes: Sequence[tuple[float, str]]) -> int:
    now = most = 0
    for _, what in sorted(notes):
        now += 1 if what == "start" else -1
        most = max(most, now)
    return most


async def starts_of(
    rates: DatabaseRates, request: SlotRequest, calls: int, *, tokens: float | None = None
) -> list[float]:
    starts: list[float] = []

    async def call() -> None:
        use = await rates.take([request])
        starts.append(time.time())
        await use.settle(tokens)

    await asyncio.gather(*(call() for _ in range(calls)))
    return starts


@pytest.fixture(params=["sqlite", "postgres"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/runs.db"
    return request.getfixturevalue("postgres_url")


async def test_no_window_of_two_users_together_has_more_starts_than_allowed(store_url: str) -> None:
    both = [DatabaseRates(store_url, window_s=1.0, slack_s=0.2) for _ in range(2)]
    request = SlotRequest("api", Resource(per_minute=4))
    starts = [start for some in await asyncio.gather(*(starts_of(one, request, 6) for one in both)) for start in some]
    for one in both:
        one.close()
    assert len(starts) == 12
    assert most_in_a_window(starts, 1.0) == 4


async def test_tokens_that_one_user_reports_hold_up_the_other(store_url: str) -> None:
    first, second = (DatabaseRates(store_url, window_s=0.5, slack_s=0.2) for _ in range(2))
    request = SlotRequest("api", Resource(tokens_per_minute=100), tokens=10)
    (began,) = await starts_of(first, request, 1, tokens=250)
    (next_start,) = await starts_of(second, request, 1, tokens=10)
    first.close()
    second.close()
    assert next_start - began >= 0.5 * 2.5


async def test_a_cancelled_wait_leaves_nothing_behind(tmp_path: Path) -> None:
    rates = DatabaseRates(f"sqlite:///{tmp_path}/runs.db", window_s=0.5, slack_s=0.2)
    request = SlotRequest("api", Resource(per_minute=1))
    await rates.take([request])
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await rates.take([request])
    await rates.take([request])
    rates.close()


async def test_a_database_that_is_gone_is_a_transient_failure(tmp_path: Path) -> None:
    rates = DatabaseRates(f"sqlite:///{tmp_path}/runs.db")
    (tmp_path / "runs.db").unlink()
    rates.close()
    with pytest.raises(TransientError, match="the shared limits of api cannot be counted: OperationalError"):
        await rates.take([SlotRequest("api", Resource(per_minute=1))])


def seats_on_server(name: str) -> Any:
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        return client.read_global_concurrency_limit_by_name(name)


@with_prefect
async def test_two_runs_together_have_no_more_seats_than_the_server_gives() -> None:
    from flows.translator import PrefectSeats

    name = f"desk-{uuid4().hex[:8]}"
    notes: list[tuple[float, str]] = []
    both_taken = asyncio.Event()

    async def sit(seats: PrefectSeats) -> None:
        async with seats.seat(name, 2):
            notes.append((time.monotonic(), "start"))
            if len(notes) == 2:
                both_taken.set()
            await both_taken.wait()
            await asyncio.sleep(0.05)
            notes.append((time.monotonic(), "end"))

    async with PrefectSeats({name: 2}) as first, PrefectSeats({name: 2}) as second:
        await asyncio.gather(*(sit(seats) for seats in (first, second) for _ in range(4)))
        # Cut short while it sits, and while it waits: the seats come back.
        holding = [asyncio.ensure_future(sit_for_ever(first, name)) for _ in range(2)]
        await asyncio.sleep(0.5)
        waiting = asyncio.ensure_future(sit_for_ever(second, name))
        await asyncio.sleep(0.2)
        for task in (*holding, waiting):
            task.cancel()
        await asyncio.gather(*holding, waiting, return_exceptions=True)
    assert len(notes) == 16
    assert most_at_once(notes) == 2
    known = await asyncio.to_thread(seats_on_server, f"braid:{name}")
    assert (known.limit, known.active_slots) == (2, 0)


async def sit_for_ever(seats: Any, name: str) -> None:
    async with seats.seat(name, 2):
        await asyncio.Event().wait()


@with_prefect
async def test_a_limit_that_was_deleted_or_switched_off_is_made_again() -> None:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import GlobalConcurrencyLimitUpdate

    from flows.translator import PrefectSeats

    name = f"desk-{uuid4().hex[:8]}"
    async with get_client() as client:
        async with PrefectSeats({name: 2}) as seats:
            await client.delete_global_concurrency_limit_by_name(f"braid:{name}")
            async with seats.seat(name, 2):
                assert (await client.read_global_concurrency_limit_by_name(f"braid:{name}")).active_slots == 1
        off = GlobalConcurrencyLimitUpdate(active=False, limit=9)
        await client.update_global_concurrency_limit(f"braid:{name}", off)
        async with PrefectSeats({name: 2}):
            known = await client.read_global_concurrency_limit_by_name(f"braid:{name}")
            assert (known.limit, known.active) == (2, True)


@with_prefect
def test_two_runs_in_two_processes_share_seats_and_rate(tmp_path: Path) -> None:
    from prefect.settings import PREFECT_API_URL

    notes, name = tmp_path / "notes", f"api-{uuid4().hex[:8]}"
    resources = json.dumps({name: {"concurrency": 2, "per_minute": 4}})
    arguments = [f"sqlite:///{tmp_path}/runs.db", str(notes), "3", resources, "4"]
    environment = {**os.environ, "PREFECT_API_URL": str(PREFECT_API_URL.value()), "PYTHONPATH": str(ROOT)}
    workers = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.support.limited_worker", *arguments],
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    said = [worker.communicate(timeout=200)[0].strip() for worker in workers]
    assert said == ["succeeded []"] * 2
    lines = [line.split() for line in notes.read_text().splitlines()]
    noted = [(float(moment), what) for moment, what in lines]
    assert len(noted) == 16
    assert most_at_once(noted) <= 2
    assert most_in_a_window([moment for moment, what in noted if what == "start"], 3.0) <= 4


def run_in_flow(pipeline: dict[str, Any], registry: Registry, resources: dict[str, Any]) -> tuple[RunResult, Any]:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowFilter, FlowFilterName

    from flows.translator import run_as_flow

    made = Pipeline.model_validate({"name": f"test-{uuid4().hex[:8]}", **pipeline})
    known = {name: Resource.model_validate(one) for name, one in resources.items()}
    plan = make_plan(made, registry=registry, given=(), overrides=Overrides(resources=known))
    result = run_as_flow(made, {}, lambda _: Prepared(plan, Context({})))
    with get_client(sync_client=True) as client:
        (found,) = client.read_flow_runs(flow_filter=FlowFilter(name=FlowFilterName(any_=[made.name])))
    return result, found.state


@with_prefect
def test_a_breaker_and_a_retry_budget_hold_and_are_told_in_the_final_state() -> None:
    registry, calls = Registry(), list[float]()

    @handler(registry=registry, effects=())
    async def broken() -> None:
        calls.append(time.monotonic())
        raise TransientError("503")

    name = f"down-{uuid4().hex[:8]}"
    retry = {"max_attempts": 3, "delay_s": 0.01}
    result, state = run_in_flow(
        {
            "retry_budget": 2,
            "steps": [
                {
                    "parallel": [{"handler": "broken", "uses": [name], "retry": retry}] * 3,
                    "policy": "best_effort",
                    "max_concurrency": 1,
                }
            ],
        },
        registry,
        {name: {"concurrency": 1, "breaker": {"failures": 2, "within_s": 60, "open_s": 0.5}}},
    )
    said = [outcome.error.message for outcome in result.errors if outcome.error]
    assert len(said) == 3
    assert any("the run's retry budget (2 retries) is used up" in message for message in said)
    assert sum(outcome.attempts for outcome in result.outcomes if outcome.is_leaf) == 5
    # Two failures open the breaker; after that at most one call in half a second.
    assert all(later - earlier >= 0.5 for earlier, later in itertools.pairwise(calls[1:]))
    assert state.name == "PartialSuccess"
    assert seats_on_server(f"braid:{name}").active_slots == 0
