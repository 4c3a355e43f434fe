"""Results of handlers: the field that each is written to, and how several become one."""

import re
from typing import Any

import pytest

from flows.author import Registry, Success, handler
from tests.support.engine_runs import run


@pytest.mark.parametrize(
    ("answer", "written"),
    [
        (3, {"work": 3}),
        (None, {}),
        (Success(), {}),
        (Success([1]), {"work": [1]}),
        ({"a": 1}, {"work": {"a": 1}}),
    ],
)
async def test_without_annotation_a_result_goes_to_the_field_of_the_handlers_name_if_there_is_one(
    answer: Any, written: dict[str, Any]
) -> None:
    made = Registry()

    @handler(registry=made)
    async def work():
        return answer

    result = await run(["work"], made)
    assert dict(result.context.data) == written


async def test_a_declared_result_is_written_also_if_it_is_none_and_dropped_if_that_is_declared() -> None:
    made = Registry()

    @handler(registry=made)
    async def found() -> int | None:
        return None

    @handler(registry=made, writes=())
    async def dropped() -> int:
        return 3

    result = await run([{"parallel": ["found", "dropped", "dropped"]}], made)
    assert dict(result.context.data) == {"found": None}


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda: object(), r"data\['out'\] is a builtins.object, which a context cannot hold"),
        (lambda: [lambda: 1], r"data\['out'\] is a builtins.function"),
        (lambda: "text", "a quality without meaning"),
    ],
)
async def test_a_result_that_cannot_be_kept_fails_its_step_and_nothing_else(answer: Any, message: str) -> None:
    made = Registry()

    def quality(result: Any) -> float:
        raise ValueError("a quality without meaning")

    @handler(registry=made, writes="out", quality=quality)
    async def odd() -> Any:
        return answer()

    @handler(registry=made, writes="fine")
    async def fine() -> int:
        return 1

    result = await run([{"parallel": ["odd", "fine"], "policy": "best_effort"}], made)
    assert [outcome.status for outcome in result.outcomes] == ["succeeded", "failed", "succeeded"]
    error = result.outcomes[1].error
    assert error is not None
    assert re.search(message, error.message)
    assert dict(result.context.data) == {"fine": 1}


@pytest.mark.parametrize("reducer", ["namespaced", "append", "sum", "replace"])
async def test_reducers_are_for_branches_and_not_for_a_list_that_runs_as_a_graph(reducer: str) -> None:
    made = Registry()

    @handler(registry=made, writes="total")
    async def add(*, amount: int) -> int:
        return amount

    @handler(registry=made, writes="other")
    async def other(*, amount: int) -> int:
        return amount

    steps = [{"handler": name, "options": {"amount": i}} for i, name in enumerate(["add", "other", "add"])]
    contexts = []
    for mode in ("ordered", "dag"):
        result = await run(steps, made, mode=mode, reducers={"total": reducer})
        assert result.status == "succeeded"
        contexts.append(dict(result.context.data))
    assert contexts[0] == contexts[1] == {"total": 2, "other": 1}
