import json

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from flows.errors import InvalidPipeline
from flows.loaders import dump_pipeline, load_pipeline_text, pack_pipeline
from flows.model import ForEach, Handler, Parallel, Pipeline, Policy, Sequential, Tolerance
from flows.model.policies import minimum_threshold
from tests.support.profiles import scaled
from tests.support.strategies import pipelines


@given(pipelines(["extract", "embed", "null", "1", "2024-01-01"]))
@settings(max_examples=scaled(40), suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_what_is_dumped_loads_as_the_same_pipeline(pipeline):
    assert load_pipeline_text(dump_pipeline(pipeline)).pipeline == pipeline
    assert load_pipeline_text(pack_pipeline(pipeline)).pipeline == pipeline


@given(st.text() | st.floats(allow_nan=False) | st.integers())
@example('\x7f\x85\u2028\ufeff\U0001f600 \\ " %')
@example(float("inf"))
@example(1e16)
def test_what_is_packed_loads_as_the_same_pipeline(value):
    pipeline = Pipeline(name="p", steps=(Handler(handler="a", options={"one": value, "two": {"k": [value]}}),))
    assert load_pipeline_text(pack_pipeline(pipeline)).pipeline == pipeline


@pytest.mark.parametrize("key", [1, 1.5, None, True, "k" * 2000])
def test_keys_that_json_lacks_are_packed_as_yaml(key):
    pipeline = Pipeline(name="p", steps=(Handler(handler="a", options={"codes": {key: "x"}}),))
    assert load_pipeline_text(pack_pipeline(pipeline)).pipeline == pipeline


def test_a_packed_pipeline_is_usually_json():
    pipeline = Pipeline(name="p", steps=(Handler(handler="a", options={"limit": 3}),))
    assert json.loads(pack_pipeline(pipeline)) == {"name": "p", "steps": [{"handler": "a", "options": {"limit": 3}}]}


def test_a_dump_reads_as_a_person_would_write_it():
    a, b = Handler(handler="a"), Handler(handler="b", options={"limit": 3})
    pipeline = Pipeline(
        name="p",
        steps=(
            a,
            Parallel(
                id="group",
                branches=(a, Sequential(steps=(a, b)), Sequential(steps=(a, a))),
                max_concurrency=2,
                policy=minimum_threshold(1),
            ),
            ForEach(over="docs", as_="doc", steps=(a,), tolerated_failure=Tolerance(count=2), collect={"x": "x"}),
            Parallel(branches=(a,), policy=Policy(on_branch_failure="drain")),
        ),
    )
    assert dump_pipeline(pipeline) == (
        """\
name: p
steps:
  - a
  - id: group
    max_concurrency: 2
    policy:
      minimum_threshold: 1
    parallel:
      - a
      -   - a
          - handler: b
            options:
              limit: 3
      - [a, a]
  - for_each: docs
    as: doc
    tolerated_failure: 2
    collect:
      - x
    steps:
      - a
  - policy:
      on_branch_failure: drain
    parallel:
      - a
"""
    )


def test_what_yaml_cannot_hold_is_refused_by_name():
    pipeline = Pipeline(name="p", steps=(Handler(handler="a", options={"ids": {1, 2}}),))
    with pytest.raises(ValueError, match=r"handler\.options\.ids is a set, which YAML cannot hold"):
        dump_pipeline(pipeline)


@pytest.mark.parametrize(
    ("outputs", "dumped"),
    [
        (["total", "rows"], "outputs:\n  - total\n  - rows\n"),
        ({"total": "sum", "rows": None}, "outputs:\n  total: sum\n  rows: rows\n"),
        ({"total": {"description": "All."}}, "outputs:\n  total:\n    description: All.\n"),
        ([], "outputs: []\n"),
    ],
)
def test_outputs_are_dumped_in_their_shortest_form(outputs, dumped):
    pipeline = Pipeline.model_validate({"name": "p", "steps": ["a"], "outputs": outputs})
    assert dump_pipeline(pipeline) == f"name: p\n{dumped}steps:\n  - a\n"
    assert load_pipeline_text(dump_pipeline(pipeline)).pipeline == pipeline


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        ("{total: {descripton: x}}", "did you mean 'description'"),
        ("3", "outputs"),
        ("[{total: x}]", "outputs"),
    ],
)
def test_wrong_outputs_are_reported_at_their_line(outputs, message):
    with pytest.raises(InvalidPipeline, match=message) as refused:
        load_pipeline_text(f"name: p\noutputs: {outputs}\nsteps: [a]\n")
    assert {problem.line for problem in refused.value.problems} == {2}
