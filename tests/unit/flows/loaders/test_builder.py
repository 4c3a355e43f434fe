import pytest

from flows.errors import InvalidPipeline
from flows.loaders import load_pipeline_text
from flows.loaders.builder import PipelineBuilder
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
        "pipeline 'p', step 1: 'max_worker' is no key of a parallel step; did you mean 'max_workers'? [unknown-key]",
        "pipeline 'p', step 1.1.1: 'optoins' is no key of a handler step; did you mean 'options'? [unknown-key]",
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
    with pytest.raises(TypeError, match="a step that is complete has its own"):
        PipelineBuilder("p").add(A, timeout_s=3)
