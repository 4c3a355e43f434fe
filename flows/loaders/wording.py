"""How a message names the keys and values of a pipeline file, and describes the value that is expected."""

from collections.abc import Sequence
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel

from flows.loaders.error_locations import LocatedValue, bare, is_model, is_step, is_union, names_of
from flows.loaders.yaml_steps import STEP_KINDS
from flows.model import (
    KIND_BY_KEY,
    PRESETS,
    Case,
    Merge,
    MinRatio,
    MinSuccess,
    Parameter,
    Pipeline,
    Policy,
    StepFields,
    Tolerance,
)

_DESCRIPTIONS: dict[Any, str] = {
    str: "a text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    Any: "a value",
    Policy: f"{', '.join(PRESETS)}, `minimum_threshold: n`, or a mapping with {', '.join(Policy.model_fields)}",
    Tolerance: "a number of items or a share such as '5%'",
    Merge: "the name of a strategy, or a mapping with strategy, output and options",
}
_OWNERS: dict[Any, str] = {
    Pipeline: "a pipeline",
    Case: "a case",
    Parameter: "a parameter",
    MinSuccess: "success_when",
    MinRatio: "success_when",
}


def key_text(located: LocatedValue) -> str:
    """The key that a value stands under, or the number of an item, as the subject of a sentence."""
    if is_step(located.expected):
        return "a step" if located.index is not None else repr(located.key)
    if located.index is not None and located.key:
        return f"item {located.index + 1} of {located.key!r}"
    return repr(located.key) if located.key else "this"


def type_text(annotation: Any) -> str:
    """The value that an annotation demands, in words that complete `… must be`."""
    if is_step(annotation):
        return "the name of a handler, a list of steps, or a mapping"
    annotation = bare(annotation)
    if annotation in _DESCRIPTIONS:
        return _DESCRIPTIONS[annotation]
    if get_origin(annotation) is Literal:
        return _alternatives([repr(choice) for choice in get_args(annotation)])
    if is_union(annotation):
        return _alternatives([type_text(member) for member in get_args(annotation)])
    if get_origin(annotation) is dict:
        return "a mapping"
    if get_origin(annotation) in (tuple, list):
        inner = get_args(annotation)[0]
        kinds = {str: "a list of texts", Case: "a list of cases, each with 'when' and 'steps'"}
        return "a list of steps" if is_step(inner) else kinds.get(inner, "a list")
    if is_model(annotation):
        required = [name for name, field in annotation.model_fields.items() if field.is_required()]
        return f"a mapping with {', '.join(required or keys_of(annotation))}"
    return "something else"


def _alternatives(choices: Sequence[str]) -> str:
    return " or ".join([", ".join(choices[:-1]), choices[-1]]) if len(choices) > 1 else choices[0]


def owner_text(model: type[BaseModel] | None) -> str:
    """The mapping that a model describes, such as `a parallel step`."""
    if model is None:
        return "this"
    if issubclass(model, StepFields):
        return f"a {model.model_fields['type'].default} step"
    return _OWNERS.get(model, f"a {model.__name__.lower()}")


def keys_of(model: type[BaseModel]) -> list[str]:
    """The keys that may stand in a mapping of a model, aliases included."""
    names = [key for name, field in model.model_fields.items() for key in names_of(name, field)]
    telling = [key for key, kind in KIND_BY_KEY.items() if STEP_KINDS[kind] is model]
    telling += ["minimum_threshold"] if model is Policy else []
    return [key for key in dict.fromkeys([*names, *telling]) if not key.endswith("_")]
