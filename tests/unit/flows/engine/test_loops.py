"""The window of a loop: never exceeded, items start in order, and an item that waits for a retry does not block others."""

import asyncio
import random
from collections.abc import Callable
from typing import Any

import pytest

import flows.engine.loops
from flows.author import Call, Registry, RunResult, handler
from flows.engine import Prepared, run_plan
from flows.errors import FatalError, TransientError
from flows.model import Pipeline
from flows.planning import make_plan
from flows.state import Context, ExternalSequence
from flows.testkit import run_virtually
from tests.support.profiles import scaled


async def run(steps: Any, registry: Registry, data: dict[str, Any], **fields: Any) -> RunResult:
    model = Pipeline.model_validate({"name": "test", "steps": steps, **fields})
    return await run_plan(Prepared(make_plan(model, registry=registry, given=data), Context(data)))


def registry_of(function: Callable[..., Any], **declared: Any) -> Registry:
    made = Registry()
    handler(registry=made, effects=(), **declared)(function)
    return made


async def test_an_item_that_waits_for_a_retry_leaves_its_slot_to_the_next() -> None:
    calls = list[tuple[int, int]]()

    async def recovers(item: int, *, call: Call) -> None:
        calls.append((item, call.attempt))
        if item == 0 and call.attempt == 1:
            raise TransientError("busy", retry_after_s=0)

    loop = {"for_each": "numbers", "steps": ["recovers"], "max_concurrency": 1}
    result = await run([loop], registry_of(recovers), {"numbers": [0, 1, 2, 3]}, retry={"max_attempts": 2})
    assert result.status == "succeeded"
    # The place went to others meanwhile, but not to all of them.
    assert calls == [(0, 1), (1, 1), (2, 1), (0, 2), (3, 1)]


@pytest.mark.parametrize("most_waiting", [0, 2, 256])
@pytest.mark.parametrize("seed", range(scaled(8)))
async def test_never_more_at_once_than_the_window_and_begun_in_order(
    seed: int, most_waiting: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flows.engine.loops, "MOST_WAITING", most_waiting)
    rng = random.Random(seed)
    limit, first_attempts = rng.randint(1, 4), list[int]()
    running = most = begun = most_begun = 0

    async def unsteady(item: int, *, call: Call) -> None:
        nonlocal running, most, begun, most_begun
        if call.attempt == 1:
            first_attempts.append(item)
            begun += 1
        running += 1
        most, most_begun = max(most, running), max(most_begun, begun)
        for _ in range(rng.randint(0, 5)):
            await asyncio.sleep(0)
        running -= 1
        if rng.random() < 0.5 and call.attempt < 4:
            raise TransientError("again", retry_after_s=0)
        begun -= 1

    loop = {"for_each": "numbers", "steps": ["unsteady"], "max_concurrency": limit}
    numbers = list(range(40))
    result = await run([loop], registry_of(unsteady), {"numbers": numbers}, retry={"max_attempts": 4, "delay_s": 0})
    assert result.status == "succeeded"
    assert most <= limit
    assert most_begun <= limit + most_waiting
    assert first_attempts == numbers


async def test_a_long_list_is_not_a_task_an_item() -> None:
    tasks = 0

    async def count(item: int) -> None:
        nonlocal tasks
        tasks = max(tasks, len(asyncio.all_tasks()))

    loop = {"for_each": "numbers", "steps": ["count"], "max_concurrency": 4}
    await run([loop], registry_of(count), {"numbers": list(range(2000))})
    assert tasks < 20


async def test_items_on_disk_are_read_when_their_turn_comes_and_end_as_those_of_a_list_do() -> None:
    made = 0

    class Numbers(ExternalSequence[int]):
        def __len__(self) -> int:
            return 40

        def __getitem__(self, place: Any) -> Any:
            nonlocal made
            made += 1
            return place

    ahead = list[int]()

    async def square(item: int) -> int:
        ahead.append(made - item)
        await asyncio.sleep(0)
        return item * item

    loop = {"for_each": "numbers", "steps": ["square"], "max_concurrency": 3, "collect": ["square"]}
    registry = registry_of(square, writes="square")
    found = await run([loop], registry, {"numbers": Numbers()})
    assert max(ahead) <= 4
    listed = await run([loop], registry, {"numbers": list(range(40))})
    assert found.context.data["square"] == listed.context.data["square"] == [number**2 for number in range(40)]
    assert [(each.path, each.status) for each in found.outcomes] == [(o.path, o.status) for o in listed.outcomes]


async def test_no_item_begins_once_the_loop_was_stopped_however_many_may_fail() -> None:
    began = list[int]()

    async def forever(item: int) -> None:
        began.append(item)
        await asyncio.Event().wait()

    made = registry_of(forever)

    @handler(registry=made)
    async def fatal() -> None:
        while not began:
            await asyncio.sleep(0)
        raise FatalError("broken")

    loop = {"for_each": "numbers", "steps": ["forever"], "max_concurrency": 1, "tolerated_failure": "100%"}
    result = await run([{"parallel": [loop, "fatal"], "policy": "fail_fast"}], made, {"numbers": [1, 2, 3]})
    assert began == [1]
    assert {o.path: o.status for o in result.outcomes} == {
        "0": "failed",
        "0.0": "cancelled",
        "0.0[0]": "cancelled",
        "0.0[0].0": "cancelled",
        "0.0[1]": "cancelled",
        "0.0[2]": "cancelled",
        "0.1": "failed",
    }


def test_no_item_is_called_when_the_time_is_up() -> None:
    began = list[int]()

    async def forever(item: int) -> None:
        began.append(item)
        await asyncio.Event().wait()

    loop = {
        "for_each": "numbers",
        "steps": ["forever"],
        "max_concurrency": 1,
        "tolerated_failure": "100%",
        "timeout_s": 0.02,
    }
    result = run_virtually(run([loop], registry_of(forever), {"numbers": [1, 2, 3]}))
    assert began == [1]
    assert [o.status for o in result.outcomes if o.kind == "item"] == ["timed_out"] * 3
    assert [o.attempts for o in result.outcomes if o.is_leaf] == [1, 0, 0]
