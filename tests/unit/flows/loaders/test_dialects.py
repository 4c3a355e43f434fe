"""Pipelines of every source load unchanged: the examples next to their native forms, and the defaults of each system."""

import json
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deployments.runs import with_inputs
from flows.author import REGISTRY, load_modules
from flows.errors import InvalidPipeline
from flows.loaders import dump_pipeline, load_pipeline, load_pipeline_text
from flows.model import ForEach, Handler, Parallel, Pipeline, SubPipeline
from flows.model.steps import walk
from tests.support.paths import EXAMPLES
from tests.support.profiles import scaled
from tests.support.strategies import names, pipelines

FILES = sorted(file for file in (EXAMPLES / "dialects").glob("*/*.*") if file.suffix in (".yaml", ".json"))
FOLDERS = {"hpd": "hpd", "chains": "chain", "data": "data", "stages": "stages"}


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}-{file.stem}")
def test_an_example_gives_the_native_form_beside_it(
    file: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    load_modules(["handlers"])
    before = dict(REGISTRY.handlers)
    request.addfinalizer(lambda: (REGISTRY.handlers.clear(), REGISTRY.handlers.update(before)))
    monkeypatch.syspath_prepend(str(EXAMPLES / "dialects" / "hpd"))
    monkeypatch.delitem(sys.modules, "hpd_handlers", raising=False)
    load_modules(["hpd_handlers"])
    loaded = with_inputs(load_pipeline(file), {})
    golden = file.parent / "native" / f"{file.stem}.yaml"
    native = load_pipeline_text(golden.read_text(), file=str(golden))
    assert dump_pipeline(loaded.pipeline, policies=True) == golden.read_text()
    assert (native.pipeline, native.dialect) == (loaded.pipeline, "native")
    assert loaded.warnings == ()
    is_a_plain_list = (file.parent.name, file.stem) == ("hpd", "sequential")
    assert loaded.dialect == ("native" if is_a_plain_list else FOLDERS[file.parent.name])


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}-{file.stem}")
def test_every_step_of_an_example_has_its_place_in_the_file(file: Path) -> None:
    loaded, lines = load_pipeline(file), file.read_text().splitlines()
    for path, node in loaded.positions.steps.items():
        line, column = loaded.position_of(path)
        assert (line, column) == node.position
        if isinstance(node.scalar, str):
            assert lines[line - 1][column - 1 :].lstrip("'\"").startswith(node.scalar)
        elif node.entries and "handler" in node.entries:
            line, column = loaded.position_of(path, "handler")
            assert lines[line - 1][column - 1 :].lstrip("'\"").startswith(node.entries["handler"].scalar)


def steps(text: str) -> tuple:
    return load_pipeline_text(text, file="f.yaml").pipeline.steps


def test_an_old_sequential_pipeline_gives_what_it_always_gave() -> None:
    (extract, partition, embed) = (Handler(handler=name) for name in ("extract", "partition", "embed"))
    assert steps("[extract, partition, embed]") == (extract, partition, embed)
    assert steps("Steps: [extract, partition, embed]") == (extract, partition, embed)
    assert steps("[{SequentialStep: extract}, partition, {HandlerName: embed}]") == (extract, partition, embed)
    assert steps("prompt: x\nsteps: [{type: extract}, {type: partition}, embed]") == (extract, partition, embed)


@pytest.mark.parametrize(
    ("text", "limit", "policy"),
    [
        ("- ParallelStep: [a, b]", "unlimited", "all_or_nothing"),
        ("- {HandlerNames: [a, b], MaxConcurrency: 2, Policy: BestEffort}", 2, "best_effort"),
        ("- {handlerNames: [a, b], policy: 2, minimumSuccessCount: 1}", "unlimited", "minimum_threshold: 1"),
        ("- {handler_names: [a, b], policy: MinimumThreshold}", "unlimited", "continue/all/successful"),
        ("steps: [{type: parallel_group, parallel_steps: [{type: a}]}]", 3, "all_or_nothing"),
        ("steps: [{type: parallel_group, fail_fast: true, parallel_steps: [{type: a}]}]", 3, "fail_fast"),
        ("steps: [{type: parallel_group, params: {parallel_steps: [{type: a}]}}]", 3, "continue/any/successful"),
        (
            "steps: [{type: parallel_group, merge_strategy: first_success, parallel_steps: [{type: a}]}]",
            3,
            "continue/any/successful",
        ),
        ("steps: [{type: parallel, steps: [{type: transform, function: f}]}]", "unlimited", "all_or_nothing"),
        ("stages: [{name: s, jobs: [a], max_workers: 4}]", 4, "fail_fast"),
        ("stages: [{name: t, jobs: [a]}, {name: s, jobs: [a], max_workers: 4}]", 1, "fail_fast"),
        ("stages: [{name: s, jobs: [a], stop_on_failure: false}]", None, "keep_going"),
        ("stages: [{name: s, jobs: [a]}]\nstop_on_failure: false", None, "keep_going"),
    ],
)
def test_each_system_has_its_own_limit_and_policy(text: str, limit: object, policy: str) -> None:
    group = next(step for step in walk(steps(text)) if isinstance(step, Parallel))
    assert (group.max_concurrency, group.policy.name) == (limit, policy)


def test_stages_are_sequential_unless_the_run_says_otherwise() -> None:
    assert load_pipeline_text("stages: [{name: s, jobs: [a, b]}]").pipeline.max_concurrency == 1


def test_a_stage_loop_is_a_loop_and_a_job_may_be_a_pipeline() -> None:
    (loop,) = steps(
        "stages: [{name: s, loop: {over: '@run.peek.items', payload: {x: '@item.x'}, jobs: [a, pipeline.b]}}]"
    )
    assert loop == ForEach(
        id="s",
        over="@run.peek.items",
        steps=(
            Handler(handler="a", options={"x": "@item.x"}),
            SubPipeline(pipeline="pipeline.b", parameters={"x": "@item.x"}),
        ),
    )


@pytest.mark.parametrize(
    ("text", "dialect"),
    [
        ("name: p\nsteps: [{type: parallel, branches: [a]}]", "native"),
        ("name: p\nsteps: [{type: parallel, steps: [{type: query, source: s, output: a}]}]", "data"),
        ("name: p\nsteps: [{type: merge_results, from: g}]", "native"),
        ("name: p\nsteps: [{handler: a, options: {type: query, stages: [x]}}]", "native"),
        ("- a\n- parallel: [b]", "native"),
        ("- {HandlerNames: [a]}", "hpd"),
    ],
)
def test_the_dialect_is_told_by_what_a_file_holds(text: str, dialect: str) -> None:
    assert load_pipeline_text(text).dialect == dialect


@given(pipelines(["extract", "embed"]))
@settings(max_examples=scaled(20))
def test_what_is_native_stays_native(pipeline: Pipeline) -> None:
    once = dump_pipeline(pipeline, policies=True)
    loaded = load_pipeline_text(once)
    assert (loaded.pipeline, loaded.dialect) == (pipeline, "native")
    assert dump_pipeline(loaded.pipeline, policies=True) == once


_words = st.sampled_from(
    "name Steps steps HandlerName HandlerNames ParallelStep SequentialStep Policy MaxConcurrency type parallel_group "
    "group_id parallel_steps params fail_fast merge_strategy text_to_speech split_input batch_process step_template "
    "query transform skill merge parallel inputs output source stages jobs loop over payload stop_on_failure".split()
)
_anything = st.recursive(
    _words | st.none() | st.booleans() | st.integers(-2, 3) | names,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_words | st.integers(0, 2), inner, max_size=5),
    max_leaves=25,
)


@given(_anything)
@settings(max_examples=scaled(80))
def test_no_file_of_any_dialect_ends_in_anything_but_a_pipeline_or_its_problems(value: object) -> None:
    try:
        load_pipeline_text(json.dumps(value), file="f.yaml")
        return
    except InvalidPipeline as invalid:
        found = invalid.problems
    assert found
    assert all(problem.line >= 1 and problem.column >= 1 for problem in found)
