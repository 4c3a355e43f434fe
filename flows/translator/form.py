"""The form that starts a run in Prefect's UI: a typed signature and a description of every parameter."""

import inspect
import types
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from prefect.utilities.callables import parameter_schema
from pydantic import Field, GetJsonSchemaHandler

from flows.author import OutputField, ReadParameter
from flows.model import Parameter, Pipeline


@dataclass(frozen=True)
class Control:
    """A parameter that a flow has besides those of its pipeline; a pipeline's parameter of the same name takes
    precedence.
    """

    name: str
    annotation: Any
    description: str
    default: Any = None
    """The default; `inspect.Parameter.empty` makes the parameter required."""
    title: str = ""
    """Its label in the form; by default derived from its name."""
    first: bool = False
    """Whether it precedes the optional parameters; other controls are at the end."""


INDEX = Control("index", str, "The index that the run works on.", "default", first=True)
MAX_CONCURRENCY = Control(
    "max_concurrency",
    Annotated[int | None, Field(ge=1)],
    "The most steps at once in the whole run; empty: the pipeline's own limit.",
    title="Most steps at once",
)


def field_control(read: ReadParameter) -> Control:
    """The control for a field that steps read and a run must supply, although the pipeline declares no parameter for
    it.
    """
    kind = read.annotation if _fits_a_form(read.annotation) else Any
    if read.required:
        return Control(read.name, kind, "", inspect.Parameter.empty)
    return Control(read.name, kind | None if kind is not Any else Any, "")


def _fits_a_form(annotation: Any) -> bool:
    """Whether a form can ask for such a value: plain values, and lists and mappings of them."""
    kinds = (str, int, float, bool, type(None), list, tuple, dict, Sequence, Mapping)
    if get_origin(annotation) is Literal or annotation in kinds:
        return True
    outer = get_origin(annotation)
    return outer in (*kinds, Union, types.UnionType) and all(map(_fits_a_form, get_args(annotation)))


def flow_description(pipeline: Pipeline, outputs: Iterable[OutputField]) -> str:
    """The description of a pipeline's flow and deployment: its own, and the outputs with their types."""
    lines = [
        f"- `{each.name}`{f' ({each.type})' if each.type else ''}{f': {each.description}' if each.description else ''}"
        for each in outputs
    ]
    listed = "\n".join(["Outputs:", "", *lines]) if lines else ""
    return "\n\n".join(part for part in (pipeline.description, listed) if part)


def form(pipeline: Pipeline, controls: Iterable[Control]) -> tuple[inspect.Signature, str]:
    """The signature of a pipeline's flow, from which Prefect makes the form, and the docstring that describes it.

    Required parameters come first, then the index, then the other parameters, and advanced ones at the end.
    """
    kept = [control for control in controls if control.name not in pipeline.parameters]
    groups: list[list[inspect.Parameter]] = [[] for _ in range(5)]
    for name, parameter in pipeline.parameters.items():
        default = inspect.Parameter.empty if parameter.required else parameter.default
        place = 0 if parameter.required else 3 if parameter.advanced else 2
        groups[place].append(_parameter(name, _annotation(parameter), default, parameter.title))
    for control in kept:
        shown = _parameter(control.name, control.annotation, control.default, control.title)
        groups[1 if control.first else 4].append(shown)
    described = {name: parameter.description for name, parameter in pipeline.parameters.items()}
    described |= {control.name: control.description for control in kept}
    lines = [f"    {name}: {' '.join(text.split())}" for name, text in described.items() if text]
    first = pipeline.description or f"Run {pipeline.name}."  # Prefect finds the section below only after a blank line
    return inspect.Signature([parameter for group in groups for parameter in group]), "\n".join(
        [first, "", "Args:", *lines]
    )


def form_schema(pipeline: Pipeline, controls: Iterable[Control]) -> dict[str, Any]:
    """The form as the JSON schema that a deployment has of it."""

    def run() -> None: ...

    run.__signature__, run.__doc__ = form(pipeline, controls)  # pyright: ignore[reportFunctionMemberAccess]
    schema = parameter_schema(run).model_dump_for_openapi()
    for field in schema.get("properties", {}).values():
        if field.get("default", ...) is None:
            del field["default"]  # the UI would fill in null, and then refuse to submit it
    return schema


class _Plain:
    """Shows an optional value as a plain field of the form; an empty field means None.

    For "this type or null", the UI shows a switch between two types, and "Property is type None". A parameter that is
    optional may still be null.
    """

    def __get_pydantic_json_schema__(self, schema: Any, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        field = handler(schema)
        kinds = [kind for kind in field.get("anyOf", ()) if kind.get("type") != "null"]
        if len(kinds) == 1 and len(field["anyOf"]) == 2:
            del field["anyOf"]
            field.update({key: value for key, value in kinds[0].items() if key not in field})
        return field


def _parameter(name: str, annotation: Any, default: Any, title: str) -> inspect.Parameter:
    extra: Any = Field(json_schema_extra={"title": title or name.replace("_", " ").capitalize()})
    shown = Annotated[annotation, _Plain(), extra]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=shown, default=default)


_TYPES: dict[str, Any] = {
    "text": str,
    "integer": int,
    "number": float,
    "boolean": bool,
    "list": list[str],
    "mapping": dict[str, Any],
}


def _annotation(parameter: Parameter) -> Any:
    kind: Any = Literal[parameter.choices] if parameter.choices else _TYPES[parameter.type]
    if not parameter.required and parameter.default is None:
        kind = kind | None
    numeric = parameter.type in ("integer", "number")
    field: Any = Field(
        ge=parameter.minimum if numeric else None,
        le=parameter.maximum if numeric else None,
    )
    return Annotated[kind, field]
