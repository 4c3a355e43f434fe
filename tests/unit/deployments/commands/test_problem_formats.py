"""Problems in machine-readable formats."""

import jsonschema
import pytest

from deployments.commands.problem_formats import github, sarif
from flows.errors import Problem

WRONG = Problem("my pipelines/a.yaml", 3, 5, "unknown-key", "'x' is no key\nof a step: 100%, sure")
UNCLEAR = Problem("b.yaml", 0, 0, "undescriptive-name", "the id 'foo' says nothing", "warning")
# The parts of the SARIF 2.1.0 schema that a log of ours uses, each as strict as there.
_MESSAGE = {"type": "object", "required": ["text"], "properties": {"text": {"type": "string"}}}
_REGION = {
    "type": "object",
    "additionalProperties": False,
    "properties": {"startLine": {"type": "integer", "minimum": 1}, "startColumn": {"type": "integer", "minimum": 1}},
}
_LOCATION = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "physicalLocation": {
            "type": "object",
            "additionalProperties": False,
            "required": ["artifactLocation"],
            "properties": {
                "artifactLocation": {
                    "type": "object",
                    "additionalProperties": False,
                    "properties": {"uri": {"type": "string", "pattern": "^[^ \\\\]+$"}},
                },
                "region": _REGION,
            },
        }
    },
}
_RESULT = {
    "type": "object",
    "additionalProperties": False,
    "required": ["message"],
    "properties": {
        "ruleId": {"type": "string"},
        "ruleIndex": {"type": "integer", "minimum": -1},
        "level": {"enum": ["none", "note", "warning", "error"]},
        "message": _MESSAGE,
        "locations": {"type": "array", "items": _LOCATION},
    },
}
_RULE = {
    "type": "object",
    "additionalProperties": False,
    "required": ["id"],
    "properties": {
        "id": {"type": "string"},
        "shortDescription": _MESSAGE,
        "defaultConfiguration": {"type": "object", "properties": {"level": {"enum": ["warning", "error"]}}},
    },
}
_DRIVER = {
    "type": "object",
    "additionalProperties": False,
    "required": ["name"],
    "properties": {"name": {"type": "string"}, "rules": {"type": "array", "items": _RULE, "uniqueItems": True}},
}
SARIF = {
    "type": "object",
    "additionalProperties": False,
    "required": ["version", "runs"],
    "properties": {
        "$schema": {"type": "string", "format": "uri"},
        "version": {"const": "2.1.0"},
        "runs": {
            "type": "array",
            "items": {
                "type": "object",
                "additionalProperties": False,
                "required": ["tool"],
                "properties": {
                    "tool": {"type": "object", "required": ["driver"], "properties": {"driver": _DRIVER}},
                    "columnKind": {"enum": ["utf16CodeUnits", "unicodeCodePoints"]},
                    "results": {"type": "array", "items": _RESULT},
                },
            },
        },
    },
}


def test_sarif_holds_every_problem_at_its_place() -> None:
    log = sarif({"my pipelines/a.yaml": [WRONG], "b.yaml": [UNCLEAR]})
    jsonschema.validate(log, SARIF)
    (run,) = log["runs"]
    first, second = run["results"]
    assert [rule["id"] for rule in run["tool"]["driver"]["rules"]] == ["undescriptive-name", "unknown-key"]
    assert (first["ruleIndex"], first["level"], second["level"]) == (1, "error", "warning")
    assert first["locations"] == [
        {
            "physicalLocation": {
                "artifactLocation": {"uri": "my%20pipelines/a.yaml"},
                "region": {"startLine": 3, "startColumn": 5},
            }
        }
    ]
    assert second["locations"] == [{"physicalLocation": {"artifactLocation": {"uri": "b.yaml"}}}]


def test_sarif_without_problems_is_a_log_too() -> None:
    jsonschema.validate(sarif({"a.yaml": []}), SARIF)


@pytest.mark.parametrize(
    ("problem", "line"),
    [
        (
            WRONG,
            "::error file=my pipelines/a.yaml,line=3,col=5,title=unknown-key::'x' is no key%0Aof a step: 100%25, sure",
        ),
        (UNCLEAR, "::warning file=b.yaml,title=undescriptive-name::the id 'foo' says nothing"),
        (Problem("a,b:c.yaml", 1, 2, "x", "y"), "::error file=a%2Cb%3Ac.yaml,line=1,col=2,title=x::y"),
    ],
)
def test_github_shows_problems_beside_their_lines(problem: Problem, line: str) -> None:
    assert github(problem) == line
