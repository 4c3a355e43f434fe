"""Timeouts in virtual time: each level ends its contents on time, and no level outlives the enclosing ones."""

import asyncio
from typing import Any

import pytest

from flows.author import Registry, RunResult, handler
from flows.engine import Prepared, run_plan
from flows.errors import TransientError
from flows.model import Pipeline
from flows.planning import make_plan
from flows.state import Context
from flows.testkit import run_virtually
from tests.support.truth_table import Row, tables

LEVELS = ["call", "attempt", "step", "group", "loop", "sub-pipeline", "inner pipeline", "run"]
ROWS = tables("## Time")
SHORT_S, LONG_S = 2.0, 10.0
PATHS = {"sub-pipeline": "0", "loop": "0/0", "item": "0/0[0]", "group": "0/0[0].0", "step": "0/0[0].0.0"}


@pytest.fixture
def registry() -> Registry:
    made = Registry()

    @handler(registry=made, effects=())
    async def client(*, gives_up_after_s: float = LONG_S) -> None:
        async with asyncio.timeout(gives_up_after_s):
            await asyncio.Event().wait()

    @handler(registry=made, effects=())
    async def ok() -> None: ...

    @handler(registry=made, effects="store")
    async def waits() -> None:
        await asyncio.Event().wait()

    @handler(registry=made, effects="store")
    async def stores() -> None: ...

    @handler(registry=made, effects=())
    async def takes(*, seconds: float) -> None:
        await asyncio.sleep(seconds)

    @handler(registry=made, effects=())
    async def busy() -> None:
        await asyncio.sleep(1)
        raise TransientError("busy", retry_after_s=3)

    return made


def nested(times: dict[str, float], registry: Registry, *, retry: dict[str, Any] | None = None) -> RunResult:
    """Run a call in an attempt in a step in a group in a loop in a sub-pipeline, each with its own time."""
    step: dict[str, Any] = {
        "handler": "client",
        "id": "step",
        "timeout_s": times["step"],
        "options": {"gives_up_after_s": times["call"]},
        "retry": {"attempt_timeout_s": times["attempt"], **(retry or {})},
    }
    group = {"parallel": [step, {"handler": "ok", "id": "other"}], "id": "group", "timeout_s": times["group"]}
    loop = {"for_each": "items", "id": "loop", "steps": [group], "timeout_s": times["loop"]}
    inner = Pipeline.model_validate({"name": "inner", "steps": [loop], "timeout_s": times["inner pipeline"]})
    outer = Pipeline.model_validate(
        {
            "name": "outer",
            "timeout_s": times["run"],
            "steps": [{"pipeline": "inner", "id": "sub-pipeline", "timeout_s": times["sub-pipeline"]}],
        }
    )
    plan = make_plan(outer, registry=registry, catalog={"inner": inner}, given=["items"])
    return run_virtually(run_plan(Prepared(plan, Context({"items": ["one"]}))))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["2 s for the"])
def test_the_shortest_time_around_a_call_ends_it(row: Row, registry: Registry) -> None:
    short = row["2 s for the"]
    result = nested({level: SHORT_S if level == short else LONG_S for level in LEVELS}, registry)
    outcomes = {str(outcome.path): outcome for outcome in result.outcomes}
    ended = {name: outcomes[path].status for name, path in PATHS.items()}
    assert ended == {name: row[name] for name in PATHS}
    assert result.status == row["run"]
    assert {outcomes[path].seconds for path in PATHS.values()} == {SHORT_S}
    assert result.seconds == SHORT_S
    assert result.transient


def test_the_page_has_every_level() -> None:
    assert [row["2 s for the"] for row in ROWS] == LEVELS


@pytest.mark.parametrize("level", range(1, len(LEVELS)))
def test_no_level_outlives_the_ones_around_it(level: int, registry: Registry) -> None:
    """Everything inside the level has a longer timeout than the level, by any amount."""
    times = {name: 1000.0 if inside < level else 5.0 + inside - level for inside, name in enumerate(LEVELS)}
    assert nested(times, registry).seconds == 5.0


@pytest.mark.parametrize("level", ["step", "group", "loop", "sub-pipeline", "inner pipeline", "run"])
def test_attempts_and_the_waits_between_them_are_in_the_time_of_what_is_around(level: str, registry: Registry) -> None:
    times = {name: 7.0 if name == level else 1000.0 for name in LEVELS} | {"attempt": 2.0}
    result = nested(times, registry, retry={"max_attempts": 9, "delay_s": 1, "backoff": "constant"})
    step = next(outcome for outcome in result.outcomes if outcome.path == PATHS["step"])
    # From 0 to 2, from 3 to 5, and from 6 until the time is up.
    assert (step.status, step.attempts, step.seconds, step.waits) == ("timed_out", 3, 5.0, {"the next attempt": 2.0})


def test_no_retry_begins_that_would_come_too_late(registry: Registry) -> None:
    steps = [{"handler": "busy", "timeout_s": 8, "retry": {"max_attempts": 9}}]
    plan = make_plan(Pipeline.model_validate({"name": "p", "steps": steps}), registry=registry)
    (outcome,) = run_virtually(run_plan(Prepared(plan, Context({})))).outcomes
    # From 0 to 1 and from 4 to 5; the next would begin when the time is up.
    assert (outcome.status, outcome.attempts, outcome.seconds, outcome.waited_s) == ("failed", 2, 2.0, 3.0)
    assert outcome.error is not None
    assert outcome.error.message.startswith("busy")


def test_each_item_and_each_branch_has_the_time_of_its_own_step(registry: Registry) -> None:
    loop = {
        "for_each": "items",
        "steps": [{"handler": "takes", "options": {"seconds": 3}, "timeout_s": 4}],
        "max_concurrency": 1,
    }
    plan = make_plan(Pipeline.model_validate({"name": "p", "steps": [loop]}), registry=registry, given=["items"])
    result = run_virtually(run_plan(Prepared(plan, Context({"items": [1, 2, 3]}))))
    assert (result.status, result.seconds) == ("succeeded", 9.0)


@pytest.mark.parametrize("mixed", [False, True])
def test_a_loop_reads_timed_out_only_if_nothing_but_time_was_wrong(mixed: bool, registry: Registry) -> None:
    steps: list[Any] = [{"switch": [{"when": "item == 1", "steps": ["busy"]}], "default": ["client"]}]
    loop = {"for_each": "items", "id": "loop", "steps": steps, "timeout_s": 2, "tolerated_failure": 1}
    plan = make_plan(Pipeline.model_validate({"name": "p", "steps": [loop]}), registry=registry, given=["items"])
    result = run_virtually(run_plan(Prepared(plan, Context({"items": [1 if mixed else 2, 3]}))))
    assert result.outcomes[0].status == ("failed" if mixed else "timed_out")


@pytest.mark.parametrize("around", ["a branch", "an item", "a sub-pipeline"])
def test_what_had_no_time_for_its_next_step_ran_out_of_time_and_says_so(around: str, registry: Registry) -> None:
    steps = [{"parallel": ["waits"], "policy": "best_effort"}, "stores", "ok"]
    outer: dict[str, dict[str, Any]] = {
        "a branch": {"parallel": [{"steps": steps, "id": "list"}], "timeout_s": 2},
        "an item": {"for_each": "items", "steps": steps, "timeout_s": 2},
        "a sub-pipeline": {"pipeline": "inner", "id": "list", "timeout_s": 2},
    }
    inner = Pipeline.model_validate({"name": "inner", "mode": "dag", "steps": steps})
    model = Pipeline.model_validate({"name": "p", "mode": "dag", "steps": [outer[around]]})
    plan = make_plan(model, registry=registry, catalog={"inner": inner}, given=["items"])
    outcomes = run_virtually(run_plan(Prepared(plan, Context({"items": [1]})))).outcomes
    never_started = next(one for one in outcomes if one.step.endswith("stores"))
    assert (never_started.status, never_started.started, never_started.error) == ("timed_out", None, None)
    assert never_started.reason == "timed out before it started"
    read = {"a branch": "0.0", "an item": "0[0]", "a sub-pipeline": "0"}[around]
    ended = next(one for one in outcomes if one.path == read)
    assert ended.status == "timed_out"
    assert ended.started is not None
    assert ended.error is not None
    assert ended.error.transient
    assert ended.error.message == f"{never_started.step}: timed out before it started"
