"""`isolation: process`: another process, the same isolation, and an end that is an end."""

import os
from collections.abc import Iterator

import pytest

import tests.unit.flows.process_handlers as process_handlers
from flows.context import Context
from flows.engine import run_plan
from flows.executors import stop_processes
from flows.planner import make_plan
from flows.registry import REGISTRY
from flows.steps import Pipeline


@pytest.fixture(scope="module", autouse=True)
def workers() -> Iterator[None]:
    yield
    stop_processes()
    for name in ("tell_pid", "spin", "spend_and_spin", "spend_and_fail", "write_in_a_process"):
        REGISTRY.handlers.pop(name, None)


async def test_a_call_runs_elsewhere_and_comes_back_as_a_delta() -> None:
    assert process_handlers.tell_pid("x") == os.getpid()
    pipeline = Pipeline.model_validate({"name": "p", "steps": ["tell_pid", "write_in_a_process"]})
    context = Context({"text": "hello", "seen": []})
    result = await run_plan(make_plan(pipeline, given=["text", "seen"]), context)
    assert result.status == "succeeded", result.errors
    assert context.data["worker_pid"] != os.getpid()
    assert context.data["pid"] != os.getpid()
    assert context.data["seen"] == ["hello"]


async def test_an_endless_loop_is_killed_at_its_timeout_and_the_pool_goes_on() -> None:
    pipeline = Pipeline.model_validate({
        "name": "p", "steps": [{"parallel": [{"handler": "spin", "timeout_s": 3}], "policy": "best_effort"}, "tell_pid"],
    })  # fmt: skip
    context = Context({"text": "hello"})
    result = await run_plan(make_plan(pipeline, given=["text"]), context)
    assert [outcome.status for outcome in result.outcomes] == ["succeeded", "timed_out", "succeeded"]
    assert context.data["worker_pid"] != os.getpid()


async def test_what_a_process_reported_counts_also_when_it_fails_or_is_killed() -> None:
    pipeline = Pipeline.model_validate({
        "name": "p", "steps": [{"parallel": [{"handler": "spend_and_spin", "timeout_s": 3}, "spend_and_fail"],
                                "policy": "best_effort"}],
    })  # fmt: skip
    result = await run_plan(make_plan(pipeline, given=[]), Context())
    assert [(o.status, dict(o.cost)) for o in result.outcomes if o.is_leaf] == [
        ("timed_out", {"tokens": 5, "usd": 0.5}), ("failed", {"tokens": 7}),
    ]  # fmt: skip
    assert [failure.item for failure in result.failures] == ["a.pdf"]
