"""The engine's promises under chosen schedules and injected faults: one state, windows, outcomes, policies, stops."""

import random

import pytest

from flows.author import load_modules
from flows.errors import InvalidPipeline
from flows.loaders import load_pipeline_text
from flows.loaders.templates import TEMPLATES
from flows.model import Pipeline
from flows.planning import make_plan
from flows.state import Context
from flows.testkit import Faults, Schedule, broken_promises, explore, stand_ins, trace_in_threads
from tests.support.paths import ROOT
from tests.support.profiles import scaled
from tests.support.random_pipelines import mixing_registry, random_pipeline
from tests.support.random_trees import random_tree

START = {"seed": "s", "items": ["a", "b", "c"]}
PIPELINES = ROOT / "deployments" / "pipelines"


@pytest.mark.parametrize("number", range(scaled(20)))
def test_random_pipelines_give_one_state_under_any_schedule(number: int) -> None:
    pipeline = random_pipeline(random.Random(number))
    shown = explore(
        pipeline, lambda: Context(START), schedules=40, faults=Faults(), registry=mixing_registry(lambda: 0)
    ).check()
    assert shown.schedules == 40
    assert shown.statuses["succeeded"] >= 20


@pytest.mark.parametrize("number", range(scaled(16)))
def test_random_trees_of_policies_timeouts_races_and_retries_keep_every_promise(number: int) -> None:
    pipeline, catalog = random_tree(random.Random(number))
    plan = make_plan(pipeline, registry=mixing_registry(lambda: 0), catalog=catalog, given=START)
    explore(plan, lambda: Context(START), schedules=range(1000 * number, 1000 * number + 30), faults=Faults()).check()


@pytest.mark.parametrize("number", range(scaled(6)))
def test_random_trees_keep_every_promise_with_real_threads_too(number: int) -> None:
    pipeline, catalog = random_tree(random.Random(number), second_s=0.01)
    plan = make_plan(pipeline, registry=mixing_registry(lambda: 0), catalog=catalog, given=START)
    for seed in (2 * number, 2 * number + 1):
        schedule, faults = Schedule(seed, tick_s=0.0005), Faults(crash=0) if seed % 2 else None
        stop = faults.of_run(schedule, 4 * len(plan.nodes)) if faults is not None else None
        assert broken_promises(trace_in_threads(plan, Context(START), schedule, faults=faults, stop=stop)) == []


GIVEN = {
    "sources": ["one", "two", "three"],
    "query": "why?",
    "source": "folder",
    "pattern": "*",
    "exclude": ["x"],
    "top_k": 3,
    "access": {},
    "query_vector": [0.5],
    "chunks": ["a chunk"],
}


@pytest.mark.parametrize("name", [*TEMPLATES, "ingest", "search"])
def test_the_shipped_pipelines_keep_every_promise_whatever_their_handlers_do(name: str) -> None:
    load_modules(["handlers"])
    pipeline = (
        TEMPLATES[name]
        if name in TEMPLATES
        else load_pipeline_text((PIPELINES / f"{name}.yaml").read_text(encoding="utf-8")).pipeline
    )
    shown = explore(
        pipeline, lambda: Context(GIVEN), schedules=scaled(30), faults=Faults(), registry=stand_ins(pipeline)
    ).check()
    assert shown.with_faults > 0


def test_what_cannot_run_is_refused_before_any_schedule() -> None:
    loop = Pipeline.model_validate({"name": "loop", "steps": [{"for_each": "items", "steps": ["mix"]}]})
    with pytest.raises(InvalidPipeline, match="'items', which no earlier step writes"):
        explore(loop, Context, registry=mixing_registry(lambda: 0))
