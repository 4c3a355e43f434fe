"""Faults that the schedule fuzzer has found, each as the smallest run that shows it."""

import asyncio
from typing import Any

import pytest

from flows.author import Call, Outcome, Registry, handler
from flows.engine import Event, Prepared, StepFinished, StepStarted, run_plan
from flows.errors import FatalError, TransientError
from flows.model import Pipeline
from flows.planning import Plan, make_plan
from flows.state import Context
from flows.testkit import run_virtually


@pytest.fixture
def registry() -> Registry:
    made, called = Registry(), list[str]()

    @handler(registry=made, effects=())
    async def ok() -> None: ...

    @handler(registry=made, effects=())
    async def first_waits() -> None:
        if not called:
            called.append("first")
            await asyncio.Event().wait()

    return made


def planned(steps: Any, registry: Registry, **pipeline: Any) -> Plan:
    model = Pipeline.model_validate({"name": "found", "steps": steps, **pipeline})
    return make_plan(model, registry=registry, given=["items"])


async def test_a_cancelled_loop_that_tolerates_failures_takes_no_further_item(registry: Registry) -> None:
    outcomes: dict[str, Outcome] = {}
    started: list[str] = []

    def observe(event: Event) -> None:
        match event:
            case StepStarted():
                started.append(event.path)
            case StepFinished():
                outcomes[event.outcome.path] = event.outcome
            case _:
                pass

    loop = {"for_each": "items", "steps": ["first_waits"], "max_concurrency": 1, "tolerated_failure": "100%"}
    running = asyncio.ensure_future(
        run_plan(Prepared(planned([loop], registry), Context({"items": ["a", "b", "c"]}), observer=observe))
    )
    while not started:
        await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert started == ["0[0].0"]
    assert {path: outcomes[path].status for path in ("0", "0[0]", "0[1]", "0[2]")} == {
        "0": "cancelled",
        "0[0]": "cancelled",
        "0[1]": "cancelled",
        "0[2]": "cancelled",
    }


async def test_a_group_in_which_too_few_branches_ran_fails_and_says_so(registry: Registry) -> None:
    group = {"parallel": ["ok", {"handler": "ok", "when": "not items"}], "policy": {"minimum_threshold": 2}}
    result = await run_plan(Prepared(planned([group], registry), Context({"items": ["a"]})))
    assert result.status == "failed"
    assert result.outcomes[0].reason == "1 of 1 branches succeeded, and success_when asks for at least 2"


def test_a_loop_that_takes_no_further_item_keeps_no_place_from_those_that_try_again(registry: Registry) -> None:
    @handler(registry=registry, effects=())
    async def uneven(item: str, *, call: Call) -> None:
        if item == "b":
            raise FatalError("broken")
        if call.attempt == 1:
            raise TransientError("come back later", retry_after_s=1)

    loop = {"for_each": "items", "steps": ["uneven"], "max_concurrency": 1}
    plan = planned([loop], registry, retry={"max_attempts": 2})
    result = run_virtually(run_plan(Prepared(plan, Context({"items": ["a", "b", "c"]}))))
    assert {outcome.path: outcome.status for outcome in result.outcomes} == {
        "0": "failed",
        "0[0]": "succeeded",
        "0[0].0": "succeeded",
        "0[1]": "failed",
        "0[1].0": "failed",
        "0[2]": "cancelled",
    }
