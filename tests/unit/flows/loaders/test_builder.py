import re

import pytest

from flows.author import Registry, handler
from flows.errors import InvalidPipeline
from flows.loaders import PipelineBuilder, dump_pipeline, load_pipeline_text, parallel, pipeline
from flows.model import (
    Case,
    ForEach,
    Handler,
    MergeResults,
    Parallel,
    Pipeline,
    Policy,
    Sequential,
    SubPipeline,
    Switch,
)

OWN = Registry()
A, B, C = Handler(handler="a"), Handler(handler="b"), Handler(handler="c")


def test_builder_models_and_yaml_give_equal_pipelines():
    built = (
        PipelineBuilder("p", max_workers=4)
        .add("a", options={"limit": 3})
        .parallel("a", ["b", "c"], id="group", max_concurrency=2, policy="fail_fast")
        .merge_results("group", strategy="union")
        .for_each("docs", as_="doc", steps=["a", "b"])
        .switch(("big", ["a"]), ("small", lambda steps: steps.add("b")), default=["c"])
        .pipeline("other", parameters={"x": 1})
        .build()
    )
    model = Pipeline(
        name="p",
        max_concurrency=4,
        steps=(
            Handler(handler="a", options={"limit": 3}),
            Parallel(
                id="group",
                branches=(A, Sequential(steps=(B, C))),
                max_concurrency=2,
                policy=Policy(on_branch_failure="cancel"),
            ),
            MergeResults(group="group", strategy="union"),
            ForEach(over="docs", as_="doc", steps=(A, B)),
            Switch(cases=(Case(when="big", steps=(A,)), Case(when="small", steps=(B,))), default=(C,)),
            SubPipeline(pipeline="other", parameters={"x": 1}),
        ),
    )
    loaded = load_pipeline_text("""
        name: p
        max_workers: 4
        steps:
          - {handler: a, options: {limit: 3}}
          - {parallel: {id: group, branches: [a, [b, c]], max_concurrency: 2, policy: fail_fast}}
          - {merge_results: {from: group, strategy: union}}
          - {for_each: {over: docs, as: doc, steps: [a, b]}}
          - switch: [{when: big, steps: [a]}, {when: small, steps: [b]}]
            default: [c]
          - {pipeline: other, parameters: {x: 1}}
    """).pipeline
    assert built == model == loaded


@pytest.mark.parametrize(
    "built",
    [
        lambda pipeline: pipeline.parallel("a", ["b", "c"]),
        lambda pipeline: pipeline.parallel(lambda group: group.add("a").add(["b", "c"])),
        lambda pipeline: pipeline.parallel(A, Sequential(steps=(B, C))),
        lambda pipeline: pipeline.add({"parallel": ["a", ["b", "c"]]}),
        lambda pipeline: pipeline.add(Parallel(branches=(A, Sequential(steps=(B, C))))),
    ],
)
def test_every_spelling_of_a_group_is_the_same_group(built):
    assert built(PipelineBuilder("p")).build().steps == (Parallel(branches=(A, Sequential(steps=(B, C)))),)


@handler(registry=OWN)
def count(text: str) -> int:
    return len(text)


@handler(registry=OWN, name="longest_of_all")
def longest(text: str) -> str:
    return max(text.split(), key=len)


def no_handler(text: str) -> int:
    return len(text)


YAML = """
name: words
max_concurrency: 2
steps:
  - count
  - parallel: [longest_of_all, [count, longest_of_all]]
    policy: best_effort
  - {for_each: words, as: text, steps: [count]}
  - {handler: count, writes: {count: again}}
"""
EACH = {"for_each": "words", "as": "text", "steps": [count]}


@pytest.mark.parametrize(
    "made",
    [
        lambda: pipeline(
            "words",
            count,
            parallel(longest, [count, longest], policy="best_effort"),
            ForEach(over="words", as_="text", steps=["count"]),
            {"handler": count, "writes": {"count": "again"}},
            max_concurrency=2,
        ),
        lambda: pipeline(
            "words",
            "count",
            {"parallel": [longest, ["count", longest]], "policy": "best_effort"},
            EACH,
            Handler(handler="count", writes={"count": "again"}),
            max_workers=2,
        ),
        lambda: (
            PipelineBuilder("words", max_concurrency=2)
            .add(count)
            .parallel(longest, [count, longest], policy="best_effort")
            .for_each("words", [count], as_="text")
            .add(count, writes={"count": "again"})
            .build()
        ),
        lambda: (
            PipelineBuilder("words", max_concurrency=2)
            .add("count")
            .parallel(lambda group: group.add(longest).add([count, longest]), policy="best_effort")
            .for_each("words", count, as_="text")
            .add(count, writes={"count": "again"})
            .build()
        ),
        lambda: Pipeline(
            name="words",
            max_concurrency=2,
            steps=[
                "count",
                {"parallel": ["longest_of_all", ["count", "longest_of_all"]], "policy": "best_effort"},
                {"for_each": "words", "as": "text", "steps": ["count"]},
                {"handler": "count", "writes": {"count": "again"}},
            ],
        ),
    ],
)
def test_functions_stand_for_their_handlers_and_every_spelling_gives_an_equal_pipeline(made):
    assert made() == load_pipeline_text(YAML).pipeline
    assert dump_pipeline(made()) == dump_pipeline(load_pipeline_text(YAML).pipeline)


def test_options_are_data_and_their_functions_stay():
    (step,) = pipeline("p", {"handler": count, "options": {"key": no_handler, "other": count}}).steps
    assert isinstance(step, Handler)
    assert step.options == {"key": no_handler, "other": count}


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda: pipeline("p", no_handler), "no_handler is not a handler and cannot be a step; put @handler above"),
        (lambda: parallel(count, [no_handler]), "no_handler is not a handler and cannot be a step; put @handler above"),
        (lambda: PipelineBuilder("p").add(no_handler), "no_handler is not a handler"),
        (lambda: PipelineBuilder("p").parallel(count, lambda group: None), "added no steps to its builder; if it is a"),
        (lambda: pipeline("p", steps=["a"]), "give them after the name: pipeline(name, *steps)"),
    ],
)
def test_what_is_no_handler_is_refused_where_it_is_used(made, message):
    with pytest.raises(TypeError, match=re.escape(message)):
        made()


def test_problems_of_a_group_name_its_branch():
    with pytest.raises(InvalidPipeline) as refused:
        parallel(count, ["a", {"handler": "x", "optons": {}}], polcy="fail_fast")
    assert str(refused.value).splitlines() == [
        "parallel(…): 'polcy' is not a key of a parallel step; did you mean 'policy'? [unknown-key]",
        "parallel(…), branch 1.1: 'optons' is not a key of a handler step; did you mean 'options'? [unknown-key]",
    ]


def test_groups_nest():
    built = PipelineBuilder("p").parallel("a", lambda group: group.parallel("b", "c")).build()
    assert built.steps == (Parallel(branches=(A, Parallel(branches=(B, C)))),)


def test_every_mistake_is_reported_with_the_place_of_its_step():
    builder = (
        PipelineBuilder("p")
        .add("")
        .parallel("a", ["b", {"handler": "c", "optoins": {}}], max_worker=2, id="x")
        .add("a", timeout_s=-1, id="x")
        .parallel(id="empty")
    )
    with pytest.raises(InvalidPipeline) as caught:
        builder.build()
    assert str(caught.value).split("\n") == [
        "pipeline 'p', step 0: 'handler' is empty; give it a name [empty-name]",
        "pipeline 'p', step 1: 'max_worker' is not a key of a parallel step; did you mean 'max_workers'? [unknown-key]",
        "pipeline 'p', step 1.1.1: 'optoins' is not a key of a handler step; did you mean 'options'? [unknown-key]",
        "pipeline 'p', step 2: 'timeout_s' must be more than 0, not -1 [bad-value]",
        "pipeline 'p', step 2: the id 'x' is taken by step 1; ids are unique [duplicate-id]",
        "pipeline 'p', step 3: Parallel group empty has no steps [empty-group]",
    ]


@pytest.mark.parametrize("name", ["", "two words", "1st"])
def test_a_pipeline_needs_a_proper_name(name):
    with pytest.raises(InvalidPipeline, match="'name' cannot be"):
        PipelineBuilder(name).add("a").build()


def test_a_pipeline_needs_steps():
    with pytest.raises(InvalidPipeline, match="a pipeline has no steps"):
        PipelineBuilder("p").build()


def test_fields_are_for_names_only():
    with pytest.raises(TypeError, match="set the fields of a complete step in the step itself"):
        PipelineBuilder("p").add(A, timeout_s=3)
