"""The arguments of a run, checked against the parameters that its pipeline declares."""

from collections.abc import Mapping
from typing import Any

from flows.errors import OrchestrationError, suggest
from flows.model.parameters import convert, short_repr
from flows.model.secrecy import is_secret_name, keep_parameters_secret
from flows.model.steps import Pipeline

INDEX = "index"
"""The parameter that is also the index of the run, in a pipeline that declares it."""


class InvalidParameters(OrchestrationError, ValueError):
    """Parameters that a pipeline cannot run with; the message lists every problem."""


def check_parameters(pipeline: Pipeline, given: Mapping[str, Any]) -> dict[str, Any]:
    """Values for all declared parameters, defaults filled in; texts are read as the declared types.

    Raises:
        InvalidParameters: unknown names, missing values, wrong types, values out of bounds, all at once.
    """
    declared = pipeline.parameters
    keep_parameters_secret(given)
    keep_parameters_secret({name: parameter.default for name, parameter in declared.items()})
    problems = [
        f"{pipeline.name} has no parameter {name!r}"
        + (suggest(name, list(declared)) if declared else f"; to declare it, write `parameters: {{{name}: {{}}}}`")
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
            shown = "" if is_secret_name(name) else f", not {short_repr(value)}"
            problems.append(f"parameter {name!r} {error}{shown}")
    if problems:
        raise InvalidParameters("\n".join(problems))
    return values


def declares_index(pipeline: Pipeline) -> bool:
    """Whether a pipeline declares a text parameter for the index of its runs."""
    return INDEX in pipeline.parameters and pipeline.parameters[INDEX].type == "text"


def index_of(pipeline: Pipeline, values: Mapping[str, Any], otherwise: str) -> str:
    """The index that a run works on: its parameter `index`, if the pipeline declares one and it has a value."""
    return (values.get(INDEX) if declares_index(pipeline) else None) or otherwise
