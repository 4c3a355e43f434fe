"""The picture of a plan."""

from flows.model import Pipeline
from flows.planning import make_plan
from flows.reports import draw_mermaid
from tests.support.random_pipelines import mixing_registry


def mix(name: str, **fields: object) -> dict[str, object]:
    return {"handler": "mix", "name": name, "writes": {"out": name}, **fields}


def test_groups_loops_and_sub_steps_are_boxes() -> None:
    steps = [
        mix("extract"),
        {"parallel": [mix("a"), [mix("b"), mix("c")]], "max_concurrency": 2},
        {"for_each": "docs", "as": "doc", "batch_size": 8, "steps": [mix("d")]},
    ]
    plan = make_plan(Pipeline.model_validate({"name": "p", "steps": steps}), registry=mixing_registry(lambda: 0))
    text = draw_mermaid(plan)
    assert text.splitlines() == [
        "flowchart TD",
        '    s0["extract"]',
        '    subgraph s1_group["parallel, at most 2"]',
        '        s1_0["a"]',
        '        s1_1_0["b"]',
        '        s1_1_1["c"]',
        "    end",
        '    subgraph s2_group["for each doc of docs, 8 per batch, at most 4"]',
        '        s2_0["d"]',
        "    end",
        "    s1_1_0 --> s1_1_1",
        "    s0 --> s1_0",
        "    s0 --> s1_1_0",
        "    s1_0 --> s2_0",
        "    s1_1_1 --> s2_0",
    ]


def test_a_derived_plan_shows_its_waits() -> None:
    steps = [mix("a"), mix("b", reads={"first": "a"}), mix("c", reads={"first": "a"}), mix("d", reads={"first": "b"})]
    pipeline = Pipeline.model_validate({"name": "p", "mode": "dag", "steps": steps})
    text = draw_mermaid(make_plan(pipeline, registry=mixing_registry(lambda: 0)))
    assert [line.strip() for line in text.splitlines() if "-->" in line] == ["s0 --> s1", "s0 --> s2", "s1 --> s3"]
