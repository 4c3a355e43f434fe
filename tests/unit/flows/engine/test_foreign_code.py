"""Foreign code may raise any exception: only its own step fails, and the run has a result."""

import asyncio
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from flows.author import BranchResult, Registry, RunResult, handler, merge_strategy, split_strategy
from flows.engine import Prepared, run_plan
from flows.model import Pipeline
from flows.planning import make_plan
from flows.state import Context
from flows.state.merge import reducer


class Wordless(Exception):
    """An exception whose text cannot be made."""

    def __str__(self) -> str:
        return self.args[0].decode()


class Strange(BaseException):
    """An exception of a kind that `except Exception` lets pass."""


def cancel() -> None:
    raise asyncio.CancelledError


def leave() -> None:
    raise SystemExit(3)


def strange() -> None:
    raise Strange("odd")


def wordless() -> None:
    raise Wordless("no bytes")


def stop_iteration() -> None:
    raise StopIteration(1)


RAISING: dict[str, tuple[Callable[[], None], str]] = {
    "cancelled": (cancel, "handler raised CancelledError"),
    "exit": (leave, "handler called sys.exit(3)"),
    "strange": (strange, "handler raised Strange: odd"),
    "wordless": (wordless, "its message cannot be shown"),
}


async def run(steps: Any, registry: Registry, data: dict[str, Any] | None = None, **pipeline: Any) -> RunResult:
    model = Pipeline.model_validate({"name": "p", "steps": steps, **pipeline})
    return await run_plan(Prepared(make_plan(model, registry=registry, given=data or {}), Context(data or {})))


@pytest.fixture
def registry() -> Registry:
    made = Registry()

    @handler(registry=made, writes="value")
    async def give(*, value: Any = "ok") -> Any:
        return value

    return made


@pytest.mark.parametrize("kind", [*RAISING, "stop_iteration"])
async def test_a_handler_in_a_thread_may_raise_anything(kind: str, registry: Registry) -> None:
    function, message = {**RAISING, "stop_iteration": (stop_iteration, "handler raised StopIteration(1)")}[kind]

    @handler(registry=registry, writes="other", effects=())
    def bad() -> None:
        function()

    await check_fails_alone(registry, message)


@pytest.mark.parametrize("kind", RAISING)
async def test_a_handler_on_the_loop_may_raise_anything(kind: str, registry: Registry) -> None:
    function, message = RAISING[kind]

    @handler(registry=registry, writes="other", effects=())
    async def bad() -> None:
        await asyncio.sleep(0)
        function()

    await check_fails_alone(registry, message)


async def check_fails_alone(registry: Registry, message: str) -> None:
    result = await run([{"parallel": ["bad", "give"], "policy": "best_effort"}], registry)
    bad, give = result.outcomes[1:]
    assert (bad.status, give.status, result.status) == ("failed", "succeeded", "partial")
    assert bad.error is not None
    assert message in bad.error.message
    assert not bad.error.transient


async def test_a_task_that_a_handler_cancels_itself_fails_it(registry: Registry) -> None:
    @handler(registry=registry, writes="other", effects=())
    async def bad() -> Any:
        task = asyncio.create_task(asyncio.sleep(5))
        task.cancel()
        return await task

    await check_fails_alone(registry, "handler raised CancelledError")


async def test_a_classify_function_that_raises_leaves_the_common_rules(registry: Registry) -> None:
    def broken(error: BaseException) -> Any:
        raise KeyError("nothing here")

    @handler(registry=registry, writes="other", effects=(), classify=broken)
    async def bad() -> None:
        raise ConnectionError("away")

    result = await run(["bad"], registry)
    assert result.outcomes[0].error is not None
    assert result.outcomes[0].error.transient
    assert "the handler's own classify failed: KeyError" in result.outcomes[0].error.message


@pytest.mark.parametrize("where", ["step", "group", "case"])
async def test_a_condition_that_is_neither_true_nor_false_fails_its_step(where: str, registry: Registry) -> None:
    guarded: Any = {
        "step": {"handler": "give", "when": "vector"},
        "group": {"parallel": ["give"], "when": "vector"},
        "case": {"switch": [{"when": "vector", "steps": ["give"]}]},
    }[where]
    result = await run([guarded], registry, {"vector": np.arange(3)})
    assert (result.status, result.outcomes[0].status) == ("failed", "failed")
    assert result.outcomes[0].error is not None
    assert "'vector' is neither true nor false, but a ndarray" in result.outcomes[0].error.message


async def test_reducers_that_cannot_combine_fail_their_group(registry: Registry) -> None:
    @reducer("breaks_in_test")
    def breaks(base: Any, values: Any) -> Any:
        raise Wordless("no bytes")

    for name in ("sum", "max", "min", "breaks_in_test"):
        branches = [{"handler": "give", "options": {"value": value}} for value in (None, 1)]
        result = await run([{"parallel": branches, "reducers": {"value": name}}], registry)
        assert (result.status, result.outcomes[0].status) == ("failed", "failed")
        assert result.outcomes[0].error is not None
        assert f"the reducer '{name}' cannot combine 'value'" in result.outcomes[0].error.message


async def test_strategies_that_raise_fail_their_group(registry: Registry) -> None:
    @merge_strategy("breaks_in_engine_test")
    def merge(results: list[BranchResult]) -> Any:
        raise Wordless("no bytes")

    @split_strategy("breaks_in_engine_test")
    def split(items: Any, branches: int) -> Any:
        raise ZeroDivisionError("none")

    group: dict[str, Any] = {"parallel": ["give"]}
    merged = await run([{**group, "merge": "breaks_in_engine_test"}], registry)
    split_up = await run(
        [{**group, "split": {"strategy": "breaks_in_engine_test", "over": "xs"}}], registry, {"xs": [1]}
    )
    for result, word in ((merged, "Wordless"), (split_up, "ZeroDivisionError")):
        assert (result.status, result.outcomes[0].status) == ("failed", "failed")
        assert result.outcomes[0].error is not None
        assert word in result.outcomes[0].error.message


async def test_a_quality_function_that_raises_fails_its_step(registry: Registry) -> None:
    def broken(value: Any) -> float:
        raise Wordless("no bytes")

    @handler(registry=registry, writes="other", effects=(), quality=broken)
    async def bad() -> int:
        return 1

    result = await run([{"parallel": ["bad", "give"], "policy": "best_effort"}], registry)
    assert [outcome.status for outcome in result.outcomes[1:]] == ["failed", "succeeded"]


async def test_the_errors_of_a_timeout_are_the_same_in_every_run(registry: Registry) -> None:
    @handler(registry=registry, writes="other", effects=())
    async def slow() -> None:
        await asyncio.sleep(60)

    steps = [
        {
            "id": "group",
            "parallel": [{"handler": "slow", "timeout_s": 0.02}, "give"],
            "policy": "best_effort",
            "merge": "collect_all",
        }
    ]
    first, second = await run(steps, registry), await run(steps, registry)
    assert first["group"]["errors"] == [{"branch": "slow", "error": "0.0.slow timed out (limit: 0.02 s)"}]
    assert first.fingerprint == second.fingerprint
