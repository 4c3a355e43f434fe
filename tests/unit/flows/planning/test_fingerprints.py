"""The fingerprint of an effect changes exactly with the things that it depends on."""

from typing import Any

import pytest

from flows.author import Registry, handler
from flows.model import Pipeline
from flows.planning import effect_fingerprints, make_plan

STEPS: list[Any] = [
    {"handler": "listed", "options": {"pattern": "*"}},
    {
        "for_each": "items",
        "as": "items",
        "steps": [
            {"handler": "read", "options": {"deep": "{{ deep }}"}},
            {"parallel": [{"handler": "embed"}, {"handler": "count"}]},
            {"parallel": [{"handler": "store_vectors"}, {"handler": "store_terms"}]},
        ],
    },
]


def registry(*, version: str = "1") -> Registry:
    made = Registry()

    @handler(registry=made, writes="items")
    def listed(*, pattern: str = "*") -> list[str]:
        return [pattern]

    @handler(registry=made, writes="text")
    def read(items: list[str], *, deep: bool = False) -> str:
        return f"{items} {deep}"

    @handler(registry=made, writes="vectors", version=version)
    def embed(text: str, force: bool = False, *, size: int = 1) -> str:
        return text * size

    @handler(registry=made, writes="terms")
    def count(text: str) -> str:
        return text

    @handler(registry=made, effects="index.vectors")
    def store_vectors(vectors: str) -> None: ...

    @handler(registry=made, effects="index.terms")
    def store_terms(terms: str) -> None: ...

    return made


def fingerprints(
    steps: list[Any] = STEPS, *, apart_from: tuple[str, ...] = ("force",), version: str = "1", **given: Any
) -> dict[str, Any]:
    pipeline = Pipeline.model_validate(
        {
            "name": "p",
            "steps": steps,
            "parameters": {
                "deep": {"type": "boolean", "default": False},
                "force": {"type": "boolean", "default": False},
            },
        }
    )
    values = {"deep": False, "force": False, **given}
    plan = make_plan(pipeline, given=values, registry=registry(version=version))
    return effect_fingerprints(plan, values, apart_from=apart_from)


def test_each_effect_knows_the_steps_that_it_rests_on() -> None:
    found = fingerprints()
    assert {"store_vectors", "embed", "read"} <= found["index.vectors"].steps
    assert "listed" not in found["index.vectors"].steps  # an item is known by its content
    assert "embed" not in found["index.terms"].steps


def test_a_version_an_option_or_a_parameter_changes_the_fingerprints_that_depend_on_it() -> None:
    before = fingerprints()
    newer = fingerprints(version="2")
    assert newer["index.vectors"] != before["index.vectors"]
    assert newer["index.terms"] == before["index.terms"]
    deep = fingerprints(deep=True)
    assert deep["index.vectors"] != before["index.vectors"]
    assert deep["index.terms"] != before["index.terms"]
    larger = [
        STEPS[0],
        STEPS[1]
        | {
            "steps": [
                STEPS[1]["steps"][0],
                {
                    "parallel": [
                        {"handler": "embed", "options": {"size": 2}},
                        "count",
                    ]
                },
                STEPS[1]["steps"][2],
            ]
        },
    ]
    assert fingerprints(larger)["index.vectors"] != before["index.vectors"]
    assert fingerprints(larger)["index.terms"] == before["index.terms"]


@pytest.mark.parametrize("change", [{"max_concurrency": 7}, {"retry": {"max_attempts": 5}}, {"timeout_s": 9}])
def test_how_a_step_is_run_changes_nothing(change: dict[str, Any]) -> None:
    limited = [
        STEPS[0],
        STEPS[1]
        | {
            "steps": [
                STEPS[1]["steps"][0],
                STEPS[1]["steps"][1] if "max_concurrency" not in change else STEPS[1]["steps"][1] | change,
                STEPS[1]["steps"][2],
            ]
        },
    ]
    if "max_concurrency" not in change:
        limited[1]["steps"][0] = STEPS[1]["steps"][0] | change
    assert fingerprints(limited) == fingerprints()


def test_what_is_apart_and_how_items_are_listed_counts_for_nothing() -> None:
    assert fingerprints(force=True) == fingerprints()
    assert fingerprints(force=True, apart_from=())["index.vectors"] != fingerprints(apart_from=())["index.vectors"]
    assert fingerprints([STEPS[0] | {"options": {"pattern": "x"}}, STEPS[1]]) == fingerprints()
    by_content = fingerprints(apart_from=("force", "text"))
    assert by_content["index.vectors"] == fingerprints(apart_from=("force", "text"), deep=True)["index.vectors"]
