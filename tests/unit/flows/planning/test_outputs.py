"""The outputs of a plan: those that the pipeline declares, else the fields that no later step reads."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from flows.author import Registry, handler
from flows.errors import InvalidPipeline
from flows.model import Pipeline
from flows.planning import Plan, make_plan
from flows.state import Context


@dataclass(frozen=True)
class Word:
    text: str


@pytest.fixture(scope="module")
def registry() -> Registry:
    made = Registry()

    @handler(registry=made)
    def words(text: str) -> list[Word]: ...

    @handler(registry=made)
    def count(words: Sequence[Word]) -> int: ...

    @handler(registry=made)
    def longest(words: Sequence[Word]) -> Word | None: ...

    @handler(registry=made, writes="words")
    def sort_words(words: list[Word]) -> list[Word]: ...

    @handler(registry=made, writes="length")
    def length_of(word: Word) -> float: ...

    @handler(registry=made)
    def as_they_like(context: Context) -> None: ...

    return made


def planned(registry: Registry, *steps: Any, given: Sequence[str] = ("text",), **fields: Any) -> Plan:
    inner = Pipeline.model_validate({"name": "inner", "steps": ["words", "count"]})
    told = Pipeline.model_validate(
        {"name": "declares", "steps": ["words", "count"], "outputs": {"spoken": "words", "number": "count"}}
    )
    pipeline = Pipeline.model_validate({"name": "p", "steps": list(steps), **fields})
    return make_plan(pipeline, registry=registry, given=given, catalog={"inner": inner, "declares": told})


PARALLEL: Any = {"id": "looks", "parallel": ["count", "longest"]}
LOOP: Any = {"for_each": "words", "as": "word", "steps": ["length_of"]}


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        (["words"], {"words": "list[Word]"}),
        (["words", "count"], {"count": "int"}),
        (["words", PARALLEL], {"count": "int", "longest": "Word | None"}),
        (["words", "count", "sort_words"], {"count": "int", "words": "list[Word]"}),
        (["words", {"handler": "count", "enabled": False}], {"words": "list[Word]"}),
        (["words", {"handler": "count", "when": "text"}], {"count": "int"}),
        (["words", {**PARALLEL, "merge": {"strategy": "collect_all", "output": "both"}}], {"both": ""}),
        (["words", PARALLEL, {"merge_results": "looks", "output": "all"}], {"all": ""}),
        (["words", {**LOOP, "collect": {"length": "lengths"}}], {"lengths": "list[float]"}),
        (["words", LOOP], {}),
        (["words", {"switch": [{"when": "text", "steps": ["count"]}], "default": ["longest"]}], None),
        ([{"pipeline": "inner"}], {"count": "int"}),
        ([{"pipeline": "declares"}], {"words": "list[Word]", "count": "int"}),
        ([{"pipeline": "declares"}, "longest"], {"count": "int", "longest": "Word | None"}),
        (["words", {"parallel": ["sort_words", "count"]}], {"words": "list[Word]", "count": "int"}),
    ],
)
@pytest.mark.parametrize("mode", ["ordered", "dag"])
def test_the_fields_that_no_later_step_reads(
    registry: Registry, steps: list[Any], expected: dict[str, str] | None, mode: str
) -> None:
    found = {each.name: each.type for each in planned(registry, *steps, mode=mode).outputs}
    assert found == (expected if expected is not None else {"count": "int", "longest": "Word | None"})


@pytest.mark.parametrize(
    ("declared", "expected"),
    [
        (["count", "words"], [("count", "count", "", "int"), ("words", "words", "", "list[Word]")]),
        ("count", [("count", "count", "", "int")]),
        ({"all": "words", "count": None}, [("all", "words", "", "list[Word]"), ("count", "count", "", "int")]),
        ({"count": {"description": "How many."}}, [("count", "count", "How many.", "int")]),
        ({"first": {"field": "words.0.text"}}, [("first", "words.0.text", "", "")]),
        ([], []),
    ],
)
def test_declared_outputs_count_instead(registry: Registry, declared: Any, expected: list[Any]) -> None:
    outputs = planned(registry, "words", "count", outputs=declared).outputs
    assert [(each.name, each.field, each.description, each.type) for each in outputs] == expected


def test_an_output_that_nothing_writes_is_refused(registry: Registry) -> None:
    with pytest.raises(InvalidPipeline, match=r"the output 'size' is the field 'cuont', .*did you mean 'count'"):
        planned(registry, "words", "count", outputs={"size": "cuont"})
    assert planned(registry, "words", outputs={"size": {"field": "cuont", "at_end": True}}).outputs[0].field == "cuont"


def test_a_step_that_takes_the_whole_context_may_write_any_output(registry: Registry) -> None:
    plan = planned(registry, "words", "as_they_like", outputs=["anything"])
    assert ([each.name for each in plan.outputs], plan.writes_known) == (["anything"], False)


def test_outputs_change_no_fingerprint(registry: Registry) -> None:
    assert planned(registry, "words").fingerprint == planned(registry, "words", outputs=["words"]).fingerprint
