"""The differences between two pipelines are the ones that a person made, and nothing else."""

from typing import Any

import pytest
from hypothesis import given, settings

from flows.model import Pipeline, pipeline_differences
from tests.support.profiles import scaled
from tests.support.strategies import pipelines

STEPS: list[Any] = [
    "extract",
    {"id": "enrich", "parallel": ["embed", {"handler": "summarize", "options": {"words": 50}}], "max_workers": 4},
    "store",
]


def told(before: list[Any], after: list[Any], **fields: Any) -> list[str]:
    first = Pipeline.model_validate({"name": "p", "steps": before})
    return [
        str(one)
        for one in pipeline_differences(first, Pipeline.model_validate({"name": "p", "steps": after, **fields}))
    ]


def enriched(**fields: Any) -> list[Any]:
    return [STEPS[0], {**STEPS[1], **fields}, STEPS[2]]


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        (STEPS, []),
        ([*STEPS, "publish"], ["+ publish (3)"]),
        (["check", *STEPS], ["+ check (0)"]),
        (STEPS[:2], ["- store (2)"]),
        ([STEPS[0], STEPS[2]], ["- enrich (1)"]),
        (enriched(max_workers=2), ["~ enrich (1): max_concurrency: 4 -> 2"]),
        (
            enriched(policy="best_effort"),
            [
                "~ enrich (1): policy.success_when: 'all' -> 'always'",
                "~ enrich (1): policy.merge_when_failed: 'nothing' -> 'successful'",
            ],
        ),
        (
            enriched(parallel=["embed", {"handler": "summarize", "options": {"words": 80}}, "tag"]),
            ["~ summarize (1.1): options.words: 50 -> 80", "+ tag (1.2)"],
        ),
        ([STEPS[2], STEPS[0], STEPS[1]], ["> store (0): moved from 2 to 0"]),
        (["extract", "extract", *STEPS[1:]], ["+ extract (1)"]),
    ],
)
def test_a_change_is_one_difference(after: list[Any], expected: list[str]) -> None:
    assert told(STEPS, after) == expected


def test_the_keys_of_the_pipeline_come_first() -> None:
    assert told(STEPS, [*STEPS, "publish"], version="2", max_workers=1) == [
        "~ pipeline: version: '1' -> '2'",
        "~ pipeline: max_concurrency: nothing -> 1",
        "+ publish (3)",
    ]


def test_a_difference_is_plain_data_too() -> None:
    first, second = ({"name": "p", "steps": steps} for steps in (STEPS, enriched(max_workers=2)))
    (one,) = pipeline_differences(Pipeline.model_validate(first), Pipeline.model_validate(second))
    assert one.data() == {
        "kind": "changed",
        "step": "enrich",
        "path": "1",
        "key": "max_concurrency",
        "before": 4,
        "after": 2,
    }


@given(pipelines(["extract", "embed"]), pipelines(["extract", "embed"]))
@settings(max_examples=scaled(20))
def test_pipelines_differ_only_if_they_are_different(first: Pipeline, second: Pipeline) -> None:
    assert pipeline_differences(first, first) == []
    assert bool(pipeline_differences(first, second)) == (first != second)


def test_outputs_differ_by_name() -> None:
    assert told(STEPS, STEPS, outputs=["total"]) == [
        "~ pipeline: outputs: nothing -> {'total': {'field': 'total', 'description': '', 'at_end': False}}"
    ]
    first = Pipeline.model_validate({"name": "p", "steps": STEPS, "outputs": ["total"]})
    second = Pipeline.model_validate({"name": "p", "steps": STEPS, "outputs": {"total": "sum"}})
    assert [str(one) for one in pipeline_differences(first, second)] == [
        "~ pipeline: outputs.total.field: 'total' -> 'sum'"
    ]
