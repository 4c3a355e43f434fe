"""`mode: dag`: derived parallelism never differs from running in order, under any schedule, whatever fails."""

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.author import RunResult, handler
from flows.model import Pipeline
from flows.planning import Group, Overrides, make_plan
from flows.state import Context
from flows.testkit import Faults, Schedule
from flows.testkit.trace import trace_run
from tests.support.random_pipelines import mixing_registry, random_list

START = {"seed": "s", "f0": "0", "f1": "1", "f2": "2", "f3": "3"}


AT_ONCE = Overrides(default_max_concurrency=8)
SEEDS = st.integers(0, 2**32)


def run(
    steps: dict[str, Any], schedule: int, *, overrides: Overrides | None = None, faults: Faults | None = None
) -> RunResult:
    pipeline = Pipeline.model_validate(steps)
    plan = make_plan(pipeline, registry=mixing_registry(lambda: 0), given=START, overrides=overrides)
    result = trace_run(plan, Context(START), Schedule(schedule), faults=faults).result
    assert result is not None
    return result


@given(SEEDS, SEEDS)
def test_derived_parallelism_equals_running_in_order(seed: int, schedule: int) -> None:
    steps = random_list(random.Random(seed))
    in_order = run(steps, schedule)
    derived = run({**steps, "mode": "dag"}, schedule, overrides=AT_ONCE)
    assert derived.status == in_order.status == "succeeded"
    assert derived.fingerprint == in_order.fingerprint


@given(SEEDS, SEEDS)
def test_failures_leave_what_running_in_order_would_leave(seed: int, schedule: int) -> None:
    """The same calls fail in both; the first of them in the list ends the run."""
    steps, faults = random_list(random.Random(seed)), Faults(transient=0.1, fatal=0.1, hang=0)
    in_order = run(steps, schedule, faults=faults)
    derived = run({**steps, "mode": "dag"}, schedule, overrides=AT_ONCE, faults=faults)
    assert derived.status == in_order.status
    assert derived.fingerprint == in_order.fingerprint


@given(SEEDS, st.integers(0, 7), SEEDS)
def test_a_condition_that_cannot_be_evaluated_counts_as_in_the_list(seed: int, failing: int, schedule: int) -> None:
    data = random_list(random.Random(seed))
    data["steps"][failing]["reads"] = {"first": "f0", "second": "f1"}
    data["steps"][failing]["when"] = "no_such_field > 1"
    in_order = run(data, schedule)
    derived = run({**data, "mode": "dag"}, schedule, overrides=AT_ONCE)
    assert derived.status == in_order.status == "failed"
    assert derived.fingerprint == in_order.fingerprint


def test_the_paper_pipeline_as_a_flat_list_is_at_least_as_parallel_as_the_template() -> None:
    reads = {
        "partition_text": ["extract_text"],
        "generate_dense_embeddings": ["partition_text"],
        "generate_sparse_embeddings": ["partition_text"],
        "extract_entities": ["partition_text"],
        "generate_summary": ["partition_text"],
        "store_dense_vectors": ["generate_dense_embeddings"],
        "store_sparse_vectors": ["generate_sparse_embeddings"],
        "store_graph": ["extract_entities"],
    }
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
    assert "store_graph waits for extract_entities (it reads extract_entities)" in plan.root.why


def _mystery_of_a_context(context: Context) -> None: ...


def _mystery_of_its_own_write() -> int:
    return 1


@pytest.mark.parametrize("mystery", [_mystery_of_a_context, _mystery_of_its_own_write])
def test_a_step_that_declares_nothing_keeps_its_place(mystery: Any) -> None:
    registry = mixing_registry(lambda: 0)
    handler(mystery, name="mystery", registry=registry)
    steps = [
        {"handler": "mix", "writes": {"out": "a"}},
        "mystery",
        {"handler": "mix", "writes": {"out": "b"}},
        {"handler": "mix", "writes": {"out": "c"}},
    ]
    plan = make_plan(Pipeline.model_validate({"name": "p", "mode": "dag", "steps": steps}), registry=registry)
    assert isinstance(plan.root, Group)
    assert plan.root.after == (frozenset(), frozenset({0}), frozenset({1}), frozenset({1}))
    assert "mystery does not declare all its reads, writes and effects" in plan.root.why[1]
