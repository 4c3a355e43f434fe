"""The arguments of a run, checked against the declared parameters."""

from typing import Any

import pytest
from pydantic import ValidationError

from flows.model import InvalidParameters, Parameter, Pipeline, check_parameters, without_secrets

PIPELINE = Pipeline.model_validate(
    {
        "name": "p",
        "steps": ["x"],
        "parameters": {
            "source": {"required": True, "description": "Where from."},
            "top": {"type": "integer", "minimum": 1, "maximum": 9},
            "share": {"type": "number", "default": 0.5},
            "dry": {"type": "boolean", "default": False},
            "names": {"type": "list"},
            "tags": {"type": "mapping"},
            "mode": {"choices": ["fast", "slow"], "default": "fast"},
        },
    }
)


@pytest.mark.parametrize(
    ("name", "given", "read"),
    [
        ("top", "7", 7),
        ("top", 7.0, 7),
        ("share", "0.25", 0.25),
        ("dry", "yes", True),
        ("dry", "off", False),
        ("names", "a, b", ["a", "b"]),
        ("names", '["a,b"]', ["a,b"]),
        ("names", ("a",), ["a"]),
        ("tags", '{"team": ["legal"]}', {"team": ["legal"]}),
        ("mode", "slow", "slow"),
    ],
)
def test_texts_are_read_as_the_declared_type(name: str, given: Any, read: Any) -> None:
    assert check_parameters(PIPELINE, {"source": "s", name: given})[name] == read


@pytest.mark.parametrize(
    ("name", "given", "complaint"),
    [
        ("top", "x", "parameter 'top' must be a whole number, not 'x'"),
        ("top", "0", "must be at least 1"),
        ("top", 10, "must be at most 9"),
        ("top", True, "must be a whole number"),
        ("top", 1.5, "must be a whole number"),
        ("share", "nan", "must be a number"),
        ("dry", "perhaps", "must be true or false"),
        ("names", 3, "must be a list"),
        ("names", "[1", "must be a list"),
        ("tags", "a=b", "must be a mapping"),
        ("mode", "fas", "must be one of fast, slow; did you mean 'fast'?"),
    ],
)
def test_what_does_not_fit_is_refused(name: str, given: Any, complaint: str) -> None:
    with pytest.raises(InvalidParameters) as refused:
        check_parameters(PIPELINE, {"source": "s", name: given})
    assert complaint in str(refused.value)


def test_everything_wrong_is_said_at_once() -> None:
    with pytest.raises(InvalidParameters) as refused:
        check_parameters(PIPELINE, {"tpo": 1, "share": "x"})
    assert str(refused.value).splitlines() == [
        "p has no parameter 'tpo'; did you mean 'top'?",
        "p needs the parameter 'source': Where from.",
        "parameter 'share' must be a number, not 'x'",
    ]


def test_defaults_fill_the_gaps() -> None:
    assert check_parameters(PIPELINE, {"source": "s"}) == {
        "source": "s",
        "top": None,
        "share": 0.5,
        "dry": False,
        "names": None,
        "tags": None,
        "mode": "fast",
    }


@pytest.mark.parametrize(
    ("declared", "value"),
    [
        ({"type": "boolean", "default": "no"}, False),
        ({"type": "integer", "default": "3", "minimum": 1}, 3),
        ({"type": "number", "default": 2}, 2.0),
        ({"type": "list", "default": "a, b"}, ["a", "b"]),
        ({"type": "text", "default": "007"}, "007"),
    ],
)
def test_defaults_are_converted_as_a_given_value_is(declared: Any, value: Any) -> None:
    pipeline = Pipeline.model_validate({"name": "p", "parameters": {"x": declared}, "steps": ["s"]})
    found = check_parameters(pipeline, {})["x"]
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("declared", "complaint"),
    [
        ({"type": "integer", "default": "abc"}, "the default must be a whole number, not 'abc'"),
        ({"type": "integer", "default": 0, "minimum": 1}, "the default must be at least 1, not 0"),
        ({"choices": ["a", "b"], "default": "c"}, "the default must be one of a, b, not 'c'"),
        ({"type": "text", "default": 7}, "the default 7 is not a text; write it in quotes"),
        ({"type": "integer", "choices": ["1"]}, "choices are for parameters of type text, not integer"),
        ({"type": "text", "minimum": 1}, "minimum and maximum are for parameters of type integer or number, not text"),
        ({"type": "number", "minimum": 2, "maximum": 1}, "minimum 2 is above maximum 1"),
    ],
)
def test_declarations_that_no_value_fits_are_refused(declared: Any, complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        Parameter.model_validate(declared)


def test_secrets_are_left_out_of_what_is_kept() -> None:
    given = {"api_key": "k", "source": "https://me:hush@host/x", "more": {"password": "p", "urls": ["s3://a:b@c"]}}
    assert without_secrets(given) == {
        "api_key": "***",
        "source": "https://me:***@host/x",
        "more": {"password": "***", "urls": ["s3://a:***@c"]},
    }


def test_a_pipeline_without_parameters_says_how_to_declare_one() -> None:
    with pytest.raises(
        InvalidParameters, match=r"p has no parameter 'text'; to declare it, write `parameters: {text: {}}`"
    ):
        check_parameters(Pipeline(name="p", steps=["a"]), {"text": "x"})
