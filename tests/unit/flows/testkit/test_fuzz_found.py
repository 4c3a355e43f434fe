"""Faults that the schedule fuzzer and the writing of its oracles have found, each as the smallest run that shows it."""

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
    assert result.outcomes[0].reason == "1 of 1 branches succeeded; success_when requires at least 2"


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


def branch(name: str, value: str = "", **rest: Any) -> dict[str, Any]:
    return {"id": name, "handler": "say", "options": {"value": value or name}, "writes": {"said": name}, **rest}


@pytest.fixture
def speaking(registry: Registry) -> Registry:
    @handler(registry=registry, writes="said", effects=())
    async def say(*, value: str) -> str:
        if value == "fails":
            raise FatalError("broken")
        return value

    @handler(registry=registry, writes="listed", effects=())
    async def lists() -> list[str]:
        return ["a"]

    return registry


@pytest.mark.parametrize("mode", ["ordered", "dag"])
async def test_a_branch_that_is_a_list_gives_the_value_of_its_last_step_in_each_mode(
    mode: str, speaking: Registry
) -> None:
    group = {"parallel": [[branch("first"), branch("last")]], "merge": {"strategy": "first_success", "output": "won"}}
    result = await run_plan(Prepared(planned([group], speaking, mode=mode), Context({"items": []})))
    assert result["won"] == "last"


@pytest.mark.parametrize("mode", ["ordered", "dag"])
async def test_a_failed_group_leaves_its_successful_branches_in_each_mode(mode: str, speaking: Registry) -> None:
    group = {
        "parallel": [branch("a"), branch("b", "fails")],
        "policy": {"success_when": "all", "merge_when_failed": "successful"},
    }
    result = await run_plan(Prepared(planned([branch("before"), group], speaking, mode=mode), Context({"items": []})))
    assert result.status == "failed"
    assert dict(result.context.data) == {"items": [], "before": "before", "a": "a"}


@pytest.mark.parametrize(("merge_when_failed", "left"), [("nothing", []), ("successful", ["a"])])
async def test_a_group_whose_results_cannot_be_merged_has_failed_and_follows_its_policy(
    merge_when_failed: str, left: list[str], speaking: Registry
) -> None:
    group = {
        "parallel": [branch("a"), "lists"],
        "policy": {"merge_when_failed": merge_when_failed},
        "merge": {"strategy": "combine_outputs", "output": "all"},
    }
    result = await run_plan(Prepared(planned([group], speaking), Context({"items": []})))
    assert result.status == "failed"
    assert [name for name in result.context.data if name in ("a", "all")] == left


async def test_a_group_without_any_success_reports_its_branches_and_not_its_strategy(speaking: Registry) -> None:
    group = {
        "parallel": [branch("a", "fails"), branch("b", "fails")],
        "policy": {"merge_when_failed": "successful"},
        "merge": "first_success",
    }
    result = await run_plan(Prepared(planned([group], speaking), Context({"items": []})))
    error = next(one for one in result.outcomes if one.path == "0").error
    assert error is not None
    assert "broken" in error.message


async def test_the_branches_of_a_group_in_a_sub_pipeline_may_depend_on_each_other(speaking: Registry) -> None:
    group = {"parallel": [branch("a"), branch("b", depends_on=["a"])]}
    inner = Pipeline.model_validate({"name": "inner", "steps": [group]})
    outer = Pipeline.model_validate({"name": "outer", "steps": [{"pipeline": "inner"}]})
    plan = make_plan(outer, registry=speaking, catalog={"inner": inner})
    result = await run_plan(Prepared(plan, Context()))
    assert dict(result.context.data) == {"a": "a", "b": "b"}


async def test_the_ceiling_of_a_sub_pipeline_holds_for_all_its_groups_together(registry: Registry) -> None:
    running, most = set[str](), list[int]()

    @handler(registry=registry, effects=())
    async def counted(*, call: Call) -> None:
        running.add(call.step_id)
        most.append(len(running))
        for _ in range(5):
            await asyncio.sleep(0)
        running.discard(call.step_id)

    group = {"parallel": [{"parallel": ["counted"] * 3}, {"parallel": ["counted"] * 3}]}
    inner = Pipeline.model_validate({"name": "inner", "steps": [group], "max_concurrency": 2})
    outer = Pipeline.model_validate({"name": "outer", "steps": [{"pipeline": "inner"}], "max_concurrency": 9})
    result = await run_plan(Prepared(make_plan(outer, registry=registry, catalog={"inner": inner}), Context()))
    assert (result.status, max(most)) == ("succeeded", 2)
