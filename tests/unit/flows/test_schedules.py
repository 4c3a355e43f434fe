"""Any schedule, one result: order of completion never shows, and `mode: dag` never differs from running in order."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.context import Context
from flows.engine import run_plan
from flows.plan import Group
from flows.planner import Overrides, make_plan
from flows.results import RunResult
from flows.run_state import path_key
from flows.steps import Pipeline
from tests.random_pipelines import mixing_registry, random_list, random_pipeline

START = {"seed": "s", "items": ["a", "b", "c"], "f0": "0", "f1": "1", "f2": "2", "f3": "3"}


async def run(pipeline: Pipeline, schedule: int, **overrides: int) -> RunResult:
    rng = random.Random(schedule)
    registry = mixing_registry(lambda: rng.choice([0, 0, 1, 2, 5, 9]))
    plan = make_plan(pipeline, registry=registry, given=START, overrides=Overrides(**overrides))
    return await run_plan(plan, Context(START))


@pytest.mark.parametrize("number", range(50))
async def test_twenty_schedules_of_a_random_plan_give_one_hash(number: int) -> None:
    pipeline = random_pipeline(random.Random(number))
    results = [await run(pipeline, schedule) for schedule in range(20)]
    assert {result.status for result in results} == {"succeeded"}
    assert len({result.fingerprint for result in results}) == 1
    one_at_a_time = await run(pipeline, 99, max_concurrency=1)
    assert one_at_a_time.fingerprint == results[0].fingerprint
    declared = [[(outcome.path, outcome.status) for outcome in result.outcomes] for result in results]
    assert all(other == declared[0] for other in declared)
    assert [o.path for o in results[0].outcomes] == sorted((o.path for o in results[0].outcomes), key=path_key)


@given(st.integers(0, 2**32), st.integers(0, 2**32))
async def test_derived_parallelism_equals_running_in_order(seed: int, schedule: int) -> None:
    steps = random_list(random.Random(seed))
    in_order = await run(Pipeline.model_validate(steps), schedule)
    derived = await run(Pipeline.model_validate({**steps, "mode": "dag"}), schedule, default_max_concurrency=8)
    assert derived.status == in_order.status == "succeeded"
    assert derived.fingerprint == in_order.fingerprint


@given(st.integers(0, 2**32), st.integers(0, 7), st.integers(0, 2**32))
async def test_a_failure_leaves_what_running_in_order_would_leave(seed: int, failing: int, schedule: int) -> None:
    data = random_list(random.Random(seed))
    data["steps"][failing]["reads"] = {"first": "f0", "second": "f1"}
    data["steps"][failing]["when"] = "no_such_field > 1"
    in_order = await run(Pipeline.model_validate(data), schedule)
    derived = await run(Pipeline.model_validate({**data, "mode": "dag"}), schedule, default_max_concurrency=8)
    assert derived.status == in_order.status == "failed"
    assert derived.fingerprint == in_order.fingerprint


def test_the_paper_pipeline_as_a_flat_list_is_at_least_as_parallel_as_the_template() -> None:
    reads = {
        "partition_text": ["extract_text"], "generate_dense_embeddings": ["partition_text"],
        "generate_sparse_embeddings": ["partition_text"], "extract_entities": ["partition_text"],
        "generate_summary": ["partition_text"], "store_dense_vectors": ["generate_dense_embeddings"],
        "store_sparse_vectors": ["generate_sparse_embeddings"], "store_graph": ["extract_entities"],
    }  # fmt: skip
    names = ["extract_text", *reads]
    steps = [
        {"handler": "mix", "id": name, "reads": {"first": (reads.get(name) or ["seed"])[0]}, "writes": {"out": name}}
        for name in names
    ]
    pipeline = Pipeline.model_validate({"name": "paper", "mode": "dag", "steps": steps})
    plan = make_plan(pipeline, registry=mixing_registry(lambda: 0), given=["seed"])
    assert isinstance(plan.root, Group)
    waits = {names[i]: {names[j] for j in after} for i, after in enumerate(plan.root.after)}
    assert waits == {"extract_text": set(), **{name: set(after) for name, after in reads.items()}}
    assert (
        "store_graph waits for extract_entities (it reads extract_entities)".replace("store_graph", "mix").replace(
            "for extract_entities", "for mix"
        )
        in plan.root.why
    )


def test_a_step_that_declares_nothing_keeps_its_place() -> None:
    from flows.registry import handler

    registry = mixing_registry(lambda: 0)

    @handler(registry=registry)
    def mystery(context: Context) -> None: ...

    steps = [{"handler": "mix", "writes": {"out": "a"}}, "mystery", {"handler": "mix", "writes": {"out": "b"}},
             {"handler": "mix", "writes": {"out": "c"}}]  # fmt: skip
    plan = make_plan(Pipeline.model_validate({"name": "p", "mode": "dag", "steps": steps}), registry=registry)
    assert isinstance(plan.root, Group)
    assert plan.root.after == (frozenset(), frozenset({0}), frozenset({1}), frozenset({1}))
    assert "mystery does not declare all it does" in plan.root.why[1]
