"""`merge_results` uses the results of its own item, pipeline and run, independent of parallel ones."""

import asyncio
from typing import Any

import pytest

from flows.author import Registry, RunResult, handler
from flows.engine import Prepared, run_plan
from flows.errors import InvalidPipeline
from flows.model import Pipeline
from flows.planning import make_plan
from flows.state import Context


@pytest.fixture
def registry() -> Registry:
    made = Registry()

    @handler(registry=made, writes="own")
    async def note(item: int) -> int:
        return item

    @handler(registry=made, writes="paused")
    async def pause(item: int) -> int:
        for _ in range(10 * (4 - item)):  # the last item is ready first
            await asyncio.sleep(0)
        return item

    return made


BODY: list[Any] = [
    {"id": "g", "parallel": ["note"]},
    "pause",
    {"merge_results": "g", "strategy": "first_success", "output": "m"},
]


async def run(
    steps: Any, registry: Registry, data: dict[str, Any], catalog: dict[str, Pipeline] | None = None
) -> RunResult:
    model = Pipeline.model_validate({"name": "p", "steps": steps})
    plan = make_plan(model, registry=registry, given=data, catalog=catalog)
    return await run_plan(Prepared(plan, Context(data)))


@pytest.mark.parametrize("workers", [1, 2, 3])
async def test_each_item_merges_its_own_group(workers: int, registry: Registry) -> None:
    loop = {"for_each": "items", "max_concurrency": workers, "collect": {"m": "all"}, "steps": BODY}
    result = await run([loop], registry, {"items": [0, 1, 2, 3]})
    assert (result.status, result["all"]) == ("succeeded", [0, 1, 2, 3])


async def test_each_item_of_a_sub_pipeline_merges_its_own_group(registry: Registry) -> None:
    inner = Pipeline.model_validate({"name": "inner", "steps": BODY, "parameters": {"item": {"type": "integer"}}})
    loop = {
        "for_each": "items",
        "as": "item",
        "collect": {"m": "all"},
        "steps": [{"pipeline": "inner", "id": "sub", "parameters": {"item": "{{ item }}"}}],
    }
    result = await run([loop], registry, {"items": [0, 1, 2, 3]}, {"inner": inner})
    assert (result.status, result["all"]) == ("succeeded", [0, 1, 2, 3])


async def test_an_item_whose_group_was_skipped_takes_no_other_items_results(registry: Registry) -> None:
    body = [{**BODY[0], "when": "item != 1"}, *BODY[1:]]
    loop = {"for_each": "items", "collect": {"m": "all"}, "steps": body, "tolerated_failure": 1}
    result = await run([loop], registry, {"items": [0, 1, 2]})
    assert (result.status, result["all"]) == ("partial", [0, None, 2])
    (failed,) = [one for one in result.outcomes if one.kind == "step" and one.error is not None]
    assert failed.error is not None
    assert "the group 'g' has not run" in failed.error.message


async def test_an_item_may_merge_a_group_that_ran_before_the_loop(registry: Registry) -> None:
    before = {"id": "outer", "parallel": ["note"]}
    loop = {
        "for_each": "items",
        "as": "number",
        "collect": {"m": "all"},
        "steps": [{"merge_results": "outer", "strategy": "first_success", "output": "m"}],
    }
    result = await run([before, loop], registry, {"item": 7, "items": [0, 1]})
    assert result["all"] == [7, 7]


@pytest.mark.parametrize(
    "steps",
    [
        [{"id": "loop", "for_each": "items", "steps": ["note"]}, {"merge_results": "loop"}],
        [{"id": "step", "handler": "note"}, {"merge_results": "step"}],
        [{"for_each": "items", "steps": BODY[:1]}, {"merge_results": "g"}],
    ],
    ids=["of a loop", "of a step", "of a group inside a loop"],
)
def test_what_is_no_group_is_refused_before_the_run(steps: Any, registry: Registry) -> None:
    pipeline = Pipeline.model_validate({"name": "p", "steps": steps})
    with pytest.raises(InvalidPipeline, match="merge_results merges the branches of an earlier parallel group"):
        make_plan(pipeline, registry=registry, given=["item", "items"])
