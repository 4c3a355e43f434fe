"""Loops, switches, conditions, fan-ins, splits and sub-pipelines."""

import asyncio
from typing import Any

from flows.author import Registry, handler
from flows.engine import Prepared, run_plan
from flows.errors import FatalError
from flows.model import Pipeline
from flows.planning import make_plan
from flows.state import Context
from tests.support.engine_runs import Probe, run, statuses


async def test_a_loop_goes_depth_first_and_keeps_only_what_is_collected() -> None:
    made, order = Registry(), list[str]()

    @handler(registry=made, writes="first")
    async def one(item: int) -> int:
        order.append(f"one {item}")
        await asyncio.sleep(0)
        return item * 10

    @handler(registry=made, writes="second")
    async def two(first: int) -> int:
        order.append(f"two {first // 10}")
        return first + 1

    loop = {"for_each": "numbers", "steps": ["one", "two"], "max_concurrency": 2, "collect": ["second"]}
    result = await run([loop], made, {"numbers": [1, 2, 3, 4, 5]})
    assert dict(result.context.data) == {"numbers": [1, 2, 3, 4, 5], "second": [11, 21, 31, 41, 51]}
    assert order.index("two 1") < order.index("one 5")
    assert [o.path for o in result.outcomes if o.kind == "item"] == [f"0[{i}]" for i in range(5)]


async def test_batches_tolerance_and_the_cap() -> None:
    made = Registry()

    @handler(registry=made, writes="size")
    async def measure(batch: Any) -> int:
        if 13 in batch:
            raise FatalError("unlucky")
        return len(batch)

    loop = {"for_each": "numbers", "as": "batch", "batch_size": 4, "steps": ["measure"], "collect": ["size"]}
    numbers = {"numbers": list(range(20))}
    tolerant = await run([{**loop, "tolerated_failure": "20%"}], made, numbers)
    assert (tolerant.status, tolerant.context.data["size"]) == ("partial", [4, 4, 4, None, 4])
    shorter = await run([{**loop, "tolerated_failure": "20%", "collect_missing": "leave_out"}], made, numbers)
    assert (shorter.status, shorter.context.data["size"]) == ("partial", [4, 4, 4, 4])
    strict = await run([{**loop, "max_concurrency": 1}], made, numbers)
    assert [o.status for o in strict.outcomes if o.kind == "item"] == ["succeeded"] * 3 + ["failed", "cancelled"]
    assert "exceeded_tolerance: 1 of 5 items failed" in strict.outcomes[0].reason
    capped = await run([{**loop, "max_items": 19}], made, numbers)
    assert "20 items, more than max_items: 19" in capped.outcomes[0].reason


async def test_switch_runs_the_first_case_that_holds_and_skips_the_others(registry: Registry) -> None:
    cases = [
        {"when": "n > 5", "steps": ["fatal"]},
        {"when": "n > 1", "steps": ["ok"]},
        {"when": "true", "steps": ["fatal"]},
    ]
    result = await run([{"switch": cases, "default": ["fatal"]}], registry, {"n": 3})
    assert statuses(result) == {
        "0": "succeeded",
        "0.0": "skipped",
        "0.1": "succeeded",
        "0.2": "skipped",
        "0.3": "skipped",
    }


async def test_a_condition_over_a_missing_field_fails_with_its_name(registry: Registry) -> None:
    result = await run([{"handler": "ok", "when": "chunk > 1"}], registry, {"chunks": 1})
    error = result.outcomes[0].error
    assert error is not None
    assert "no field named 'chunk'; did you mean 'chunks'" in error.message


async def test_steps_that_are_not_enabled_or_not_due_are_skipped_and_do_not_count(registry: Registry) -> None:
    branches = [{"handler": "fatal", "enabled": False}, {"handler": "fatal", "when": "1 > 2"}, "ok"]
    result = await run([{"parallel": branches}], registry)
    assert result.status == "succeeded"
    assert [statuses(result)[f"0.{i}"] for i in range(3)] == ["skipped", "skipped", "succeeded"]


async def test_fan_in_strategies_and_the_race() -> None:
    made = Registry()

    @handler(registry=made, writes="text", quality=len)
    async def say(*, text: str, wait: bool = False) -> str:
        if wait:
            await asyncio.Event().wait()
        return text

    def branch(text: str, wait: bool = False) -> dict:
        return {"handler": "say", "options": {"text": text, "wait": wait}, "writes": {"text": f"text_{text}"}}

    calm = [branch("aa"), branch("bbbb"), branch("c")]
    for strategy, value in [
        ("first_success", "aa"),
        ("best_quality", "bbbb"),
        ("combine_outputs", "aa\n\nbbbb\n\nc"),
        ("collect_all", {"success": True, "outputs": ["aa", "bbbb", "c"], "errors": []}),
    ]:
        result = await run([{"parallel": {"id": "voices", "branches": calm, "merge": strategy}}], made)
        assert result.context.data["voices"] == value
    race = {"id": "race", "branches": [branch("slow", wait=True), branch("fast")], "merge": "fastest_success"}
    raced = await run([{"parallel": race}], made)
    assert (raced.status, raced.context.data["race"]) == ("succeeded", "fast")
    assert statuses(raced) == {"0": "succeeded", "0.0": "cancelled", "0.1": "succeeded"}
    apart = await run(
        [
            {"parallel": {"id": "g", "branches": calm}},
            {"merge_results": "g", "strategy": "union", "options": {"key": "id"}, "output": "all"},
        ],
        made,
    )
    assert apart.context.data["all"] == ["a", "b", "c"]


async def test_a_split_deals_the_items_out() -> None:
    made = Registry()

    @handler(registry=made, writes="seen")
    async def look(numbers: list[int]) -> list[int]:
        return numbers

    branches = [{"handler": "look", "writes": {"seen": f"seen_{i}"}} for i in range(3)]
    group = {"parallel": branches, "split": {"strategy": "round_robin", "over": "numbers"}}
    result = await run([group], made, {"numbers": list(range(10))})
    assert [result.context.data[f"seen_{i}"] for i in range(3)] == [[0, 3, 6, 9], [1, 4, 7], [2, 5, 8]]
    assert result.context.data["numbers"] == list(range(10))


async def test_a_sub_pipeline_keeps_its_parameters_limits_and_reducers() -> None:
    made, probe = Registry(), Probe()

    @handler(registry=made, writes="found")
    async def look(word: str) -> list[str]:
        await probe.hold(word, 3)
        return [word]

    inner = Pipeline.model_validate(
        {
            "name": "inner",
            "parameters": {"word": {"default": "none"}},
            "resources": {"desk": {"concurrency": 1}},
            "reducers": {"found": "append"},
            "steps": [{"parallel": [{"handler": "look", "uses": ["desk"]}] * 3}],
        }
    )
    outer = Pipeline.model_validate(
        {
            "name": "outer",
            "parameters": {"topic": {}},
            "steps": [{"pipeline": "inner", "parameters": {"word": "{{ topic | upper }}"}}],
        }
    )
    context = Context({"topic": "cats"})
    result = await run_plan(
        Prepared(make_plan(outer, registry=made, catalog={"inner": inner}, given=["topic"]), context)
    )
    assert result.status == "succeeded", result.errors
    assert dict(context.data) == {"topic": "cats", "found": ["CATS"] * 3}
    assert probe.most == 1
    assert [outcome.path for outcome in result.outcomes] == ["0", "0/0", "0/0.0", "0/0.1", "0/0.2"]
