"""Arguments of a run: the values that it is given, checked against the parameters that its pipeline declares."""

from collections.abc import Mapping
from typing import Any

from flows.errors import OrchestrationError, suggest
from flows.model.parameters import convert, short_repr
from flows.model.steps import Pipeline


class InvalidParameters(OrchestrationError, ValueError):
    """Parameters that a pipeline cannot run with; the message lists every problem."""


def check_parameters(pipeline: Pipeline, given: Mapping[str, Any]) -> dict[str, Any]:
    """Values for all declared parameters, defaults filled in; texts are read as the declared types.

    Raises:
        InvalidParameters: unknown names, missing values, wrong types, values out of bounds, all at once.
    """
    declared = pipeline.parameters
    problems = [
        f"{pipeline.name} has no parameter {name!r}{suggest(name, list(declared)) if declared else '; it takes none'}"
        for name in given
        if name not in declared
    ]
    values: dict[str, Any] = {}
    for name, parameter in declared.items():
        value = given.get(name)
        if value is None:
            values[name] = parameter.default
            if parameter.required:
                about = f": {parameter.description}" if parameter.description else ""
                problems.append(f"{pipeline.name} needs the parameter {name!r}{about}")
            continue
        try:
            values[name] = convert(value, parameter)
        except ValueError as error:
            problems.append(f"parameter {name!r} {error}, not {short_repr(value)}")
    if problems:
        raise InvalidParameters("\n".join(problems))
    return values
