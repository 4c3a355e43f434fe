"""The outputs of a pipeline: the fields that are the result of a run, by the names under which they are shown."""

from collections.abc import Mapping
from typing import Annotated, Any, TypeAlias, cast

from pydantic import BeforeValidator, Field

from flows.model.policies import FrozenModel


class Output(FrozenModel):
    """One output of a pipeline: a field of the context, or a value in it."""

    field: str = Field(
        min_length=1, description="The field that holds it, or a dotted path to it; default: the output's name."
    )
    description: str = Field(default="", description="Shown with the result, and in the description of the form.")
    at_end: bool = Field(
        default=False, description="Written by the run itself after its last step, so no step has to write it."
    )


def _full_outputs(value: Any) -> Any:
    """The full form of outputs that are written as names, or as a mapping from names to fields."""
    if isinstance(value, str):
        value = [value]
    if isinstance(value, (list, tuple)):
        names = cast("list[Any]", value)
        return {name: {"field": name} for name in names} if all(isinstance(name, str) for name in names) else names
    if not isinstance(value, Mapping):
        return value
    full: dict[Any, Any] = {}
    for name, output in cast("Mapping[Any, Any]", value).items():
        if output is None or isinstance(output, str):
            full[name] = {"field": output or name}
        elif isinstance(output, Mapping):
            full[name] = {"field": name, **cast("Mapping[Any, Any]", output)}
        else:
            full[name] = output
    return full


Outputs: TypeAlias = Annotated[dict[str, Output] | None, BeforeValidator(_full_outputs)]
"""Outputs by name; None leaves the choice to the plan, an empty mapping means that a run has no result."""
