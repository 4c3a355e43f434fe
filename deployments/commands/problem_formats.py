"""Problems as SARIF 2.1.0 for code scanning, and as workflow commands for annotations on GitHub."""

import os
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

from flows.errors import Problem
from flows.model import hide_secrets

SARIF_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"


def sarif(problems: Mapping[str, Sequence[Problem]]) -> dict[str, Any]:
    """All problems as one SARIF log with a rule per code."""
    found = [problem for listed in problems.values() for problem in listed]
    codes = sorted({problem.code for problem in found})
    rules = [
        {"id": code, "shortDescription": {"text": code.replace("-", " ")}, "defaultConfiguration": {"level": "error"}}
        for code in codes
    ]
    driver = {"name": "braid", "rules": rules}
    results = [_result(problem, codes.index(problem.code)) for problem in found]
    run = {"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results}
    return {"$schema": SARIF_SCHEMA, "version": "2.1.0", "runs": [run]}


def _result(problem: Problem, rule: int) -> dict[str, Any]:
    physical: dict[str, Any] = {"artifactLocation": {"uri": _uri_of(problem.file)}}
    if problem.line:
        physical["region"] = {"startLine": problem.line, "startColumn": max(problem.column, 1)}
    return {
        "ruleId": problem.code,
        "ruleIndex": rule,
        "level": "error" if problem.level == "error" else "warning",
        "message": {"text": hide_secrets(problem.message)},
        "locations": [{"physicalLocation": physical}],
    }


def _uri_of(file: str) -> str:
    """A path as a URI: relative to this folder if it is below, with `/`, and with special characters quoted."""
    from urllib.parse import quote

    path = PurePath(file)
    if path.is_absolute():
        here = PurePath(os.getcwd())
        if not path.is_relative_to(here):
            return path.as_uri()
        path = path.relative_to(here)
    return quote(path.as_posix())


def github(problem: Problem) -> str:
    """The workflow command that makes GitHub show a problem beside its line."""
    position = [("line", str(problem.line)), ("col", str(problem.column))] if problem.line else []
    fields = ",".join(
        f"{key}={_property(value)}" for key, value in [("file", problem.file), *position, ("title", problem.code)]
    )
    level = "error" if problem.level == "error" else "warning"
    return f"::{level} {fields}::{_data(hide_secrets(problem.message))}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
