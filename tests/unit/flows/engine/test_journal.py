"""Resuming from an earlier run's journal: the same final state, and successful calls are not repeated."""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.author import Registry, RunResult, ending_of, handler
from flows.calling import LeafCall, LeafResult
from flows.engine import FinishedCall, Journal, Prepared, replay_step, run_leaf, run_plan
from flows.engine.journal import MemoryJournal
from flows.errors import FatalError, OrchestrationError
from flows.model import Pipeline
from flows.planning import make_plan, step_fingerprints
from flows.state import Context
from tests.support.random_pipelines import mixing_registry, random_pipeline


def run(
    steps: Any, registry: Registry, journal: Journal, data: dict[str, Any] | None = None, **fields: Any
) -> RunResult:
    pipeline = Pipeline.model_validate({"name": "p", "steps": steps, **fields})
    return asyncio.run(run_plan(Prepared(make_plan(pipeline, registry=registry), Context(data or {}), journal=journal)))


@pytest.fixture
def calls() -> list[Any]:
    return []


@pytest.fixture
def registry(calls: list[Any]) -> Registry:
    made = Registry()

    @handler(registry=made, writes="doubled")
    def double(item: int, *, fail: Sequence[int] = ()) -> int:
        calls.append(item)
        if item in fail and calls.count(item) == 1:
            raise FatalError(f"no {item}")
        return item * 2

    @handler(registry=made, writes="total")
    def add_up(doubled: list[int], *, times: int = 1) -> int:
        calls.append("total")
        return sum(doubled) * times

    @handler(registry=made, writes="read")
    def unreadable(item: int) -> Any:
        calls.append(item)
        return item

    return made


def loop(**options: Any) -> list[Any]:
    each = {"for_each": "items", "id": "each", "collect": ["doubled"]}
    return [each | {"steps": [{"handler": "double", "options": options}]}, {"handler": "add_up", "id": "sum"}]


def test_nine_of_ten_finished_items_mean_one_call(registry: Registry, calls: list[Any]) -> None:
    journal, data = MemoryJournal(), {"items": list(range(10))}
    first = run(loop(fail=[7]), registry, journal, data, max_concurrency="unlimited")
    assert first.status == "failed"
    calls.remove(7)
    assert sorted(calls) == [0, 1, 2, 3, 4, 5, 6, 8, 9]
    calls[:] = [7]
    second = run(loop(fail=[7]), registry, journal, data, max_concurrency="unlimited")
    assert (second.status, calls) == ("succeeded", [7, 7, "total"])
    assert second.fingerprint == run(loop(fail=[]), registry, Journal(), data).fingerprint
    reused = [outcome for outcome in second.outcomes if outcome.reused]
    assert [outcome.id for outcome in reused] == [f"0.0.double[{n}]" for n in range(10) if n != 7]
    assert all(outcome.attempts == 1 and outcome.started is not None for outcome in reused)


def test_items_are_known_by_their_content_not_by_their_place(registry: Registry, calls: list[Any]) -> None:
    journal = MemoryJournal()
    steps = [{"for_each": "items", "steps": ["double"]}]
    run([{"handler": "unreadable", "reads": {"item": "start"}}, *steps], registry, journal, {"start": 0, "items": [1]})
    assert len(journal.kept) == 2
    # Equal items are items of their own.
    calls.clear()
    run(steps, registry, MemoryJournal(), {"items": [5, 5, 5]})
    assert calls == [5, 5, 5]


@pytest.mark.parametrize(
    ("changed", "again"),
    [
        ({}, []),
        ({"timeout_s": 60, "retry": {"max_attempts": 3}}, []),
        ({"options": {"times": 3}}, ["total"]),
        ({"enabled": False}, []),
    ],
    ids=["nothing", "only how it is run", "an option", "switched off"],
)
def test_only_what_a_change_touches_is_done_again(
    registry: Registry, calls: list[Any], changed: dict[str, Any], again: list[Any]
) -> None:
    journal, data = MemoryJournal(), {"items": [1, 2, 3]}
    run(loop(), registry, journal, data)
    calls.clear()
    each, total = loop()
    run([each, total | changed], registry, journal, data)
    assert calls == again


def test_a_change_reaches_all_that_comes_after_it_and_nothing_beside_it(registry: Registry) -> None:
    def lineages(options: dict[str, Any]) -> dict[str, str]:
        steps = [
            {
                "parallel": [{"handler": "double", "id": "a", "options": options}, {"handler": "double", "id": "b"}],
                "reducers": {"doubled": "append"},
            },
            {"handler": "add_up", "id": "after"},
        ]
        plan = make_plan(Pipeline.model_validate({"name": "p", "steps": steps}), registry=registry)
        return {name: definition.chained for name, definition in step_fingerprints(plan).items()}

    before, now = lineages({}), lineages({"fail": [1]})
    assert [name for name in before if before[name] != now[name]] == ["a", "after"]


def test_other_data_to_begin_with_leaves_nothing_to_take_over(registry: Registry, calls: list[Any]) -> None:
    journal = MemoryJournal()
    run(loop(), registry, journal, {"items": [1, 2]})
    calls.clear()
    run(loop(), registry, journal, {"items": [1, 2], "more": True})
    assert sorted(calls, key=str) == [1, 2, "total"]  # the items run side by side


class Broken(Journal):
    """Fails like a process that ends: from its n-th call on, every call fails."""

    def __init__(self, after: int) -> None:
        self.left = after

    async def __call__(self, leaf: LeafCall) -> LeafResult:
        self.left -= 1
        if self.left < 0:
            return LeafResult(ending_of(FatalError("the power is out")))
        return await run_leaf(leaf)


@given(seed=st.integers(0, 10_000), after=st.integers(0, 12))
def test_a_resumed_run_of_any_pipeline_ends_like_an_undisturbed_one(seed: int, after: int) -> None:
    made = 0

    def pauses() -> int:
        nonlocal made
        made += 1
        return made % 3

    handlers, pipeline = mixing_registry(pauses), random_pipeline(random.Random(seed))
    plan = make_plan(pipeline, registry=handlers)
    data = {"items": [1, 2, 3], "flag": True}
    undisturbed = asyncio.run(run_plan(Prepared(plan, Context(data))))
    whole, made, journal = made, 0, MemoryJournal()
    asyncio.run(run_plan(Prepared(plan, Context(data), journal=journal), run_leaf=Broken(after)))
    kept, made = len(journal.kept), 0
    resumed = asyncio.run(run_plan(Prepared(plan, Context(data), journal=journal)))
    assert resumed.fingerprint == undisturbed.fingerprint
    assert made == whole - kept
    assert [(o.path, o.status) for o in resumed.outcomes] == [(o.path, o.status) for o in undisturbed.outcomes]


async def test_a_step_is_replayed_on_its_recorded_inputs(registry: Registry, calls: list[Any]) -> None:
    journal, data = MemoryJournal(), {"items": [1, 2, 3]}
    pipeline = Pipeline.model_validate({"name": "p", "steps": loop()})
    plan = make_plan(pipeline, registry=registry)
    await run_plan(Prepared(plan, Context(data), journal=journal))
    calls.clear()
    again = await replay_step(plan, Context(data), journal, "0.0.double[1]")
    assert (calls, again.outcome.status, again.same) == ([2], "succeeded", True)
    (key,) = [key for key in journal.kept if key.startswith("sum")]
    kept = journal.kept[key]
    journal.kept[key] = replace(kept, result=replace(kept.result, delta=()))
    changed = await replay_step(plan, Context(data), journal, "add_up")
    assert (calls, changed.same, [str(change) for change in changed.writes]) == ([2, "total"], False, ["12"])
    with pytest.raises(OrchestrationError, match="no step 'summ' in that run; did you mean 'sum'"):
        await replay_step(plan, Context(data), journal, "summ")
    del journal.kept[next(key for key in journal.kept if key.startswith("0.0.double"))]
    with pytest.raises(OrchestrationError, match=r"'sum' cannot be replayed: '0.0.double\[\d\]' before it did not"):
        await replay_step(plan, Context(data), journal, "sum")


async def test_what_is_kept_says_what_it_took(registry: Registry) -> None:
    journal = MemoryJournal()
    plan = make_plan(Pipeline.model_validate({"name": "p", "steps": loop()}), registry=registry)
    await run_plan(Prepared(plan, Context({"items": [1]}), journal=journal))
    kept: FinishedCall = next(iter(journal.kept.values()))
    assert (kept.step_id, kept.attempts, kept.undoing) == ("0.0.double[0]", 1, False)


def test_what_was_staged_is_taken_over_only_if_it_was_published(calls: list[Any]) -> None:
    made = Registry()

    @handler(registry=made, writes="staged", stages=True)
    def stage(item: int) -> int:
        calls.append(f"stage {item}")
        return item

    @handler(registry=made, writes="published", publishes=True)
    def publish(item: int, staged: int, *, loudly: bool = False) -> int:
        calls.append(f"publish {item}")
        if item == 2 and calls.count("publish 2") == 1:
            raise FatalError("killed")
        return staged

    steps: list[dict[str, Any]] = [
        {"for_each": "items", "id": "each", "collect": ["published"], "steps": ["stage", "publish"]},
        {"handler": "stage", "id": "forgotten", "reads": {"item": "zero"}, "writes": {"staged": "lost"}},
    ]
    journal, data = MemoryJournal(), {"items": [1, 2], "zero": 0}
    assert run(steps, made, journal, data).status == "failed"
    for again in ({"stage 2", "publish 2", "stage 0"}, {"stage 0"}):
        calls[:] = ["publish 2"]
        assert run(steps, made, journal, data).status == "succeeded"
        assert set(calls[1:]) == again
    # A publication that does not fit any more is done again, so what it publishes is staged again.
    calls[:] = ["publish 2"]
    steps[0]["steps"] = ["stage", {"handler": "publish", "options": {"loudly": True}}]
    assert run(steps, made, journal, data).status == "succeeded"
    assert {"stage 1", "publish 1", "stage 2"} <= set(calls[1:])


def test_an_array_that_a_call_gave_is_held_once() -> None:
    made, journal = Registry(), MemoryJournal()

    @handler(registry=made, writes="vectors")
    def vectors() -> np.ndarray:
        return np.ones(4)

    assert run(["vectors"], made, journal).status == "succeeded"
    (kept,) = journal.kept.values()
    assert kept.result.value is kept.result.delta[0].value
    assert not kept.result.value.flags.writeable
