from typing import Any

import pytest

from flows.model import Pipeline, remarks


def told(*steps: Any, name: str = "nightly") -> list[tuple[str, str]]:
    pipeline = Pipeline.model_validate({"name": name, "steps": list(steps)})
    return [(path, code) for path, _, code, _ in remarks(pipeline)]


@pytest.mark.parametrize("name", ["step1", "foo", "test", "h1", "handler_2", "Step-3", "tmp"])
def test_a_name_that_says_nothing(name: str) -> None:
    assert told(name, {"handler": "embed", "id": name}) == [("0", "undescriptive-name"), ("1", "undescriptive-name")]
    assert told("embed", name=name) == [("", "undescriptive-name")]


@pytest.mark.parametrize("name", ["embed", "test_quality", "vector_search_openai", "steps_of_proof", "summarize2"])
def test_a_name_that_says_something(name: str) -> None:
    assert told(name) == []


def test_parallel_steps_more_than_three_deep() -> None:
    three: Any = {"parallel": [{"parallel": [{"parallel": ["embed"]}]}]}
    assert told(three) == []
    assert told({"parallel": [["split", three]]}) == [("0.0.1.0.0", "deep-nesting")]
    assert told({"parallel": [{"parallel": [three]}]}) == [("0.0.0.0", "deep-nesting")]


def test_an_output_needs_a_name_that_says_something() -> None:
    pipeline = Pipeline.model_validate({"name": "nightly", "steps": ["embed"], "outputs": {"x": "a", "totals": "b"}})
    assert [(keys, code) for _, keys, code, _ in remarks(pipeline)] == [(("outputs", "x"), "undescriptive-name")]
