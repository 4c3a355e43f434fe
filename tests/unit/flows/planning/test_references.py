"""References name something that is there, or are refused when the pipeline is planned."""

from typing import Any

import pytest

from flows.author import Registry, handler
from flows.engine import Prepared, run_plan
from flows.errors import InvalidPipeline
from flows.model import Pipeline
from flows.planning import make_plan
from flows.state import Context


@pytest.fixture
def registry() -> Registry:
    registry = Registry()

    @handler(registry=registry, writes="items")
    def peek() -> list[dict[str, Any]]:
        return [{"id": "a", "size": 1}, {"id": "b", "size": 2}]

    @handler(registry=registry, writes="report")
    def weigh() -> dict[str, Any]:
        return {"keys": [7], "total": 3}

    @handler(registry=registry, writes=["low", "high"])
    def bounds() -> dict[str, int]:
        return {"low": 1, "high": 9}

    @handler(registry=registry, writes="told")
    def tell(*, what: Any = None, more: Any = None) -> Any:
        return [what, more]

    return registry


def pipeline(*steps: Any) -> Pipeline:
    return Pipeline.model_validate({"name": "p", "parameters": {"since": {"required": True}}, "steps": list(steps)})


async def told(registry: Registry, *steps: Any) -> Any:
    context = Context({"since": "monday"})
    result = await run_plan(Prepared(make_plan(pipeline(*steps), registry=registry), context))
    assert result.status == "succeeded", result.outcomes
    return context.fork().data["told"]


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        ("@payload.since", "monday"),
        ("@ctx.since", "monday"),
        ("@run.peek.items", [{"id": "a", "size": 1}, {"id": "b", "size": 2}]),
        ("@run.peek.items[1].id", "b"),
        ("@run.peek[0].size", 1),
        ("@run.peek", [{"id": "a", "size": 1}, {"id": "b", "size": 2}]),
        ("@run.weigh.keys[0]", 7),  # a key that is also the name of a method
        ("@run.weigh.report.total", 3),
        ("@run.limits.high", 9),
        ({"deep": ["@payload.since", "not @payload.since"]}, {"deep": ["monday", "not @payload.since"]}),
        ("me@run.example", "me@run.example"),
        ("@somebody", "@somebody"),
    ],
)
async def test_a_reference_is_what_it_names(registry: Registry, what: Any, expected: Any) -> None:
    before = ["peek", "weigh", {"handler": "bounds", "id": "limits"}]
    assert await told(registry, *before, {"handler": "tell", "options": {"what": what}}) == [expected, None]


async def test_the_item_of_the_innermost_loop(registry: Registry) -> None:
    inner = {
        "for_each": "@item.parts",
        "as": "part",
        "steps": [{"handler": "tell", "options": {"what": "@item", "more": "@payload.since"}}],
        "collect": ["told"],
    }

    @handler(registry=registry, writes="docs")
    def docs() -> list[dict[str, Any]]:
        return [{"parts": ["x", "y"]}]

    loop = {"for_each": "@run.docs", "as": "doc", "steps": [inner], "collect": ["told"]}
    assert await told(registry, "docs", loop) == [[["x", "monday"], ["y", "monday"]]]


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("@payload.sinec", "'@payload.sinec': no parameter is named 'sinec'; did you mean 'since'?"),
        ("@payload", "'@payload' names nothing; write '@payload.NAME'"),
        ("@item.id", "'@item.id' is outside of a for_each; an item exists only inside one"),
        ("@self.id", "'@self.id': a step cannot refer to itself; name a parameter with '@payload.NAME'"),
        ("@run.peak.items", "'@run.peak.items': no step before it is named 'peak'; did you mean 'peek'?"),
        (
            "@run.tell.told",
            "'@run.tell.told': no step before it is named 'tell'; known are: 0.peek, peek, 1.bounds, bounds",
        ),
        ("@run.bounds.hihg", "'@run.bounds.hihg': 'bounds' does not write 'hihg'; did you mean 'high'?"),
        ("@run.bounds", "'@run.bounds': 'bounds' writes high, low; name one of them"),
        (
            "@run.peek..id",
            "'@run.peek..id' is not a reference; write names and positions, such as '@run.step.items[0].id'",
        ),
        ("@paylod.since", "'@paylod.since' refers to nothing; did you mean '@payload.since'?"),
    ],
)
def test_a_reference_that_names_nothing_is_refused(registry: Registry, what: str, message: str) -> None:
    with pytest.raises(InvalidPipeline) as caught:
        make_plan(pipeline("peek", "bounds", {"handler": "tell", "options": {"what": [what]}}), registry=registry)
    assert [(problem.code, problem.message) for problem in caught.value.problems] == [
        ("unknown-reference", f"step 2: {message}")
    ]


def test_a_loop_over_a_reference_to_nothing_is_refused(registry: Registry) -> None:
    with pytest.raises(InvalidPipeline, match="no step before it is named 'peek'; no step is before it"):
        make_plan(pipeline({"for_each": "@run.peek.items", "steps": ["tell"]}), registry=registry)


async def test_a_field_that_nothing_writes_is_told_at_plan_time_and_fails_the_run(registry: Registry) -> None:
    step = {"handler": "tell", "options": {"what": "@ctx.nowhere"}}
    plan = make_plan(pipeline(step), registry=registry)
    result = await run_plan(Prepared(plan, Context({"since": "monday"})))
    assert result.status == "failed"
    assert "nowhere" in result.outcomes[0].error.message  # pyright: ignore[reportOptionalMemberAccess]


def test_a_branch_cannot_refer_to_its_sibling(registry: Registry) -> None:
    branches = ["peek", {"handler": "tell", "options": {"what": "@run.peek.items"}}]
    with pytest.raises(InvalidPipeline, match="reads 'items', which its sibling 'peek' writes"):
        make_plan(pipeline({"parallel": branches}), registry=registry)
