"""transform and merge: functions by name, inputs by name, outputs checked."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flows.errors import DuplicateName, InvalidPipeline
from flows.state import Services
from handlers.data import transform
from handlers.data.functions import FUNCTIONS
from tests.support.data import StepFailed, data_services, run_steps, step_output


@pytest.fixture
def services(tmp_path: Path) -> Services:
    return data_services(tmp_path)


@pytest.fixture(autouse=True)
def functions() -> Iterator[None]:
    before = dict(FUNCTIONS)

    @transform
    def subtract(income: int, expense: int, *, factor: int = 1) -> int:
        return (income - expense) * factor

    @transform
    async def later(value: Any) -> dict[str, Any]:
        return {"first": value, "second": value}

    @transform
    def pair(value: Any) -> tuple[Any, Any]:
        return value, value

    yield
    FUNCTIONS.clear()
    FUNCTIONS.update(before)


FIELDS = {"income": 5, "expense": 3, "a": 9, "b": 4}


@pytest.mark.parametrize(
    ("options", "result"),
    [
        ({"function": "subtract", "inputs": ["income", "expense"]}, 2),
        ({"function": "subtract", "inputs": ["expense", "income"]}, 2),  # by name, not by place
        ({"function": "subtract", "inputs": ["a", "b"]}, 5),  # names it does not know: by place
        ({"function": "subtract", "inputs": {"income": "a", "expense": "income"}, "params": {"factor": 2}}, 8),
        ({"function": "later", "inputs": ["a"]}, {"first": 9, "second": 9}),
    ],
)
def test_inputs_reach_the_function(options: Any, result: Any, services: Services) -> None:
    assert step_output("transform", options, FIELDS, services=services) == result


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"function": "subtrct"}, "Transform function 'subtrct' not found in registry; did you mean 'subtract'?"),
        ({"function": "subtract", "inputs": ["income"]}, "missing a required argument: 'expense'"),
        ({"function": "subtract", "inputs": ["income", "a"]}, "missing a required argument: 'expense'"),
        ({"function": "subtract", "inputs": ["income", "costs"]}, "missing a required argument: 'expense'"),
        (
            {"function": "subtract", "inputs": {"income": "a", "expense": "costs"}},
            "transform reads 'costs', which no earlier step writes",
        ),
        ({"function": "pair", "inputs": ["a"], "output": ["x", "x"]}, "`output` names 'x' twice"),
    ],
)
def test_what_cannot_be_called_is_refused_when_planned(options: Any, message: str, services: Services) -> None:
    with pytest.raises(InvalidPipeline) as caught:
        step_output("transform", options, FIELDS, services=services)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("function", "output", "expected"),
    [
        ("later", ["second", "first"], {"second": 9, "first": 9}),
        ("pair", ["x", "y"], {"x": 9, "y": 9}),
        ("later", ["first", "third"], "the result lacks the outputs third; it has: first, second"),
        ("pair", ["x", "y", "z"], "the result has 2 items for 3 outputs (x, y, z)"),
        ("subtract", ["x", "y"], "several outputs need a mapping, list or tuple; the result is a int"),
    ],
)
def test_several_outputs_are_checked(function: str, output: Any, expected: Any, services: Services) -> None:
    inputs = ["a", "b"] if function == "subtract" else ["a"]
    step = {"handler": "transform", "options": {"function": function, "inputs": inputs, "output": output}}
    result, context = run_steps([step], FIELDS, services=services)
    if isinstance(expected, dict):
        assert {name: context.data[name] for name in output} == expected
    else:
        assert result.status == "failed"
        assert result.errors[0].error is not None
        assert expected in result.errors[0].error.message


def test_two_functions_cannot_share_a_name() -> None:
    with pytest.raises(DuplicateName, match="two transform functions are named 'subtract'"):
        transform(name="subtract")(lambda: None)


def test_merge_keeps_fields_under_their_names_or_follows_a_strategy(services: Services) -> None:
    fields = {"left": [1, 2], "right": [3]}
    assert step_output("merge", {"inputs": ["left", "right"]}, fields, services=services) == fields
    joined = {"inputs": ["left", "right"], "strategy": "combine_outputs"}
    assert step_output("merge", joined, fields, services=services) == [1, 2, 3]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"inputs": ["left"]}, "'merge' requires at least 2 inputs"),
        (
            {"inputs": ["left", "right"], "strategy": "bynam"},
            "no merge strategy named 'bynam'; did you mean 'by_name'?",
        ),
        ({"inputs": ["left", "middle"]}, "merge reads 'middle', which no earlier step writes"),
    ],
)
def test_a_merge_that_cannot_be_is_refused(options: Any, message: str, services: Services) -> None:
    with pytest.raises(InvalidPipeline) as caught:
        step_output("merge", options, {"left": 1, "right": 2}, services=services)
    assert message in str(caught.value)


def test_steps_run_as_soon_as_their_inputs_are_there(services: Services) -> None:
    def step(function: str, inputs: list[str], output: str) -> Any:
        return {
            "id": output,
            "handler": "transform",
            "options": {"function": function, "inputs": inputs, "output": output},
        }

    steps = [
        step("pair", ["a"], "x"),
        step("pair", ["b"], "y"),
        step("subtract", ["income", "expense"], "z"),
        {"handler": "merge", "options": {"inputs": ["x", "y"]}},
    ]
    result, context = run_steps(steps, FIELDS, services=services, mode="dag")
    assert result.status == "succeeded"
    assert context.data["merged"] == {"x": (9, 9), "y": (4, 4)}


def test_nothing_is_passed_in_place_of_a_missing_input(services: Services) -> None:
    steps = [
        {"handler": "transform", "when": "false", "options": {"function": "pair", "inputs": ["a"], "output": "x"}},
        {"handler": "transform", "options": {"function": "pair", "inputs": ["x"], "output": "y"}},
    ]
    result, _ = run_steps(steps, FIELDS, services=services)
    assert result.errors[0].error is not None
    assert "reads the field 'x', which no step has written" in result.errors[0].error.message


def test_the_error_of_a_function_is_that_of_its_step(services: Services) -> None:
    with pytest.raises(StepFailed, match="unsupported operand"):
        step_output("transform", {"function": "subtract", "inputs": ["a", "b"]}, {"a": "x", "b": 1}, services=services)
