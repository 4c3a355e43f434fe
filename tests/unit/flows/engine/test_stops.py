"""A stop prevents later steps, even if a handler returns normally instead of being stopped."""

import asyncio
import contextlib
from typing import Any

import pytest

from flows.author import FatalFailure, Registry, RunResult, handler
from flows.engine import Prepared, StepFinished, run_plan
from flows.errors import TransientError
from flows.model import Pipeline
from flows.planning import make_plan
from flows.state import Context
from flows.testkit import run_virtually


def registry() -> Registry:
    made = Registry()

    @handler(registry=made, effects=())
    async def stubborn() -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(10)

    @handler(registry=made, effects=())
    async def next_step() -> None: ...

    @handler(registry=made, effects=())
    async def fails() -> FatalFailure:
        await asyncio.sleep(1)
        return FatalFailure("broken")

    return made


def test_a_stopped_call_that_asks_to_be_tried_again_is_not() -> None:
    made, calls = registry(), list[int]()

    @handler(registry=made, effects=())
    async def asks_again() -> None:
        calls.append(1)
        try:
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            raise TransientError("interrupted") from None

    again = {"handler": "asks_again", "retry": {"max_attempts": 5, "delay_s": 0}}
    group = {"parallel": [again, "fails"], "policy": "fail_fast"}
    plan = make_plan(Pipeline.model_validate({"name": "p", "steps": [group]}), registry=made)
    result = run_virtually(run_plan(Prepared(plan, Context({}))))
    assert (result.status, len(calls)) == ("failed", 1)


LISTS: dict[str, list[Any]] = {
    "a list": ["stubborn", "next_step"],
    "a group": ["stubborn", {"parallel": ["next_step"]}],
    "a switch": ["stubborn", {"switch": [{"when": "items", "steps": ["next_step"]}]}],
    "a loop": [{"for_each": "items", "steps": ["stubborn", "next_step"], "max_concurrency": 1}],
}


@pytest.mark.parametrize("steps", LISTS.values(), ids=LISTS)
def test_nothing_starts_in_a_stopped_branch_after_a_handler_that_ignored_the_stop(steps: list[Any]) -> None:
    group = {"parallel": [steps, "fails"], "policy": "fail_fast"}
    plan = make_plan(Pipeline.model_validate({"name": "p", "steps": [group]}), registry=registry(), given=["items"])
    result: RunResult = run_virtually(run_plan(Prepared(plan, Context({"items": [1, 2]}))))
    ended = {(one.id, one.status) for one in result.outcomes if one.is_leaf}
    assert {status for name, status in ended if "next_step" in name} == {"cancelled"}
    assert {status for name, status in ended if "stubborn" in name} <= {"succeeded", "cancelled"}


async def test_nothing_starts_in_a_cancelled_run_after_a_handler_that_ignored_it() -> None:
    outcomes: dict[str, str] = {}

    def note(event: object) -> None:
        if isinstance(event, StepFinished):
            outcomes[event.outcome.id] = event.outcome.status

    plan = make_plan(Pipeline.model_validate({"name": "p", "steps": ["stubborn", "next_step"]}), registry=registry())
    running = asyncio.ensure_future(run_plan(Prepared(plan, Context({}), observer=note)))
    for _ in range(20):
        await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert outcomes == {"0.stubborn": "succeeded", "1.next_step": "cancelled"}
