"""Finds the value in a YAML document for the location of an error of pydantic."""

import types
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import AliasChoices, BaseModel
from pydantic.fields import FieldInfo

from flows.loaders.yaml_nodes import Position, YamlNode
from flows.loaders.yaml_steps import STEP_KINDS, lookup, scopes, unwrapped
from flows.model import ForEach, MergeResults, Pipeline, Policy, StepFields


@dataclass(frozen=True)
class LocatedValue:
    """The value at a location in the model: its node, its expected type, and its key in the file."""

    node: YamlNode
    position: Position
    expected: Any
    key: str = ""
    index: int | None = None
    owner: type[BaseModel] | None = None
    """The model that the key belongs to."""
    union: YamlNode | None = None
    """The value for which pydantic tried several types, if the location leads through such a union."""
    union_expected: Any = None


def follow(root: YamlNode, location: Sequence[int | str]) -> LocatedValue:
    """The value at a location; if the document does not have it, its nearest ancestor that the document has."""
    located = LocatedValue(root, root.position, Pipeline)
    for part in location:
        located = _step_down(located, part)
    return located


def _step_down(located: LocatedValue, part: int | str) -> LocatedValue:
    expected = bare(located.expected)
    if is_step(expected) and part in STEP_KINDS:
        step = unwrapped(located.node)
        return LocatedValue(step, step.position, STEP_KINDS[str(part)], located.key, located.index, located.owner)
    if isinstance(expected, type) and issubclass(expected, BaseModel):
        return _into_field(located, expected, str(part))
    if get_origin(expected) is dict:
        return _into_mapping(located, expected, part)
    if isinstance(part, int):
        items = located.node.items
        child = items[part] if items is not None and part < len(items) else located.node
        inner = get_args(expected)[0] if get_origin(expected) in (tuple, list) else Any
        return LocatedValue(child, child.position, inner, located.key, part, located.owner)
    if is_union(expected):
        chosen = next((member for member in get_args(expected) if getattr(member, "__name__", "") == part), Any)
        return LocatedValue(
            located.node,
            located.position,
            chosen,
            located.key,
            located.index,
            located.owner,
            union=located.node,
            union_expected=expected,
        )
    child = (located.node.entries or {}).get(part, located.node)
    return LocatedValue(child, child.position, Any, str(part), owner=located.owner)


def _into_mapping(located: LocatedValue, expected: Any, key: int | str) -> LocatedValue:
    inner = get_args(expected)[1]
    for index, item in enumerate(located.node.items or ()):  # `collect: [a, b]` stands for a mapping
        if item.scalar == key:
            return LocatedValue(item, item.position, inner, located.key, index, located.owner)
    child = (located.node.entries or {}).get(key, located.node)
    return LocatedValue(child, child.position, inner, str(key), owner=located.owner)


def _into_field(located: LocatedValue, model: type[BaseModel], name: str) -> LocatedValue:
    def at(node: YamlNode, position: Position, expected: Any, key: str) -> LocatedValue:
        return LocatedValue(node, position, expected, key, None, model, located.union, located.union_expected)

    whole = located.node
    found_field = field_named(model, name)
    if found_field is None:
        for scope in scopes(whole):
            if name in (scope.entries or {}):
                return at(scope, scope.key_position(name), model, name)
        if model is Policy and len(whole.entries or {}) == 1:  # `minimum_threshold: n` stands for the policy
            ((key, value),) = (whole.entries or {}).items()
            return at(value, value.position, int, str(key))
        return at(whole, located.position, model, name)
    field_name, field = found_field
    names = (name, *(known for known in names_of(field_name, field) if known != name))
    found = lookup(whole, names) if issubclass(model, (StepFields, Pipeline)) else _entry(whole, names)
    if found is not None:
        node, position, key = found
        return at(node, position, field.annotation, key)
    # A short form gives the value without the key: `for_each: docs`, a list as a branch, the name of a handler.
    telling = "for_each" if model is ForEach else "merge_results" if model is MergeResults else ""
    short = (whole.entries or {}).get(telling) if telling and field_name in ("over", "group") else None
    if short is not None and short.entries is None:
        return at(short, short.position, field.annotation, telling)
    if whole.entries is None and field_name in ("steps", "handler"):
        return at(whole, located.position, field.annotation, field_name)
    return at(whole, located.position, field.annotation, names[0])


def _entry(node: YamlNode, names: Sequence[str]) -> tuple[YamlNode, Position, str] | None:
    for name in names:
        if name in (node.entries or {}):
            value = (node.entries or {})[name]
            return value, value.position, name
    return None


def field_named(model: type[BaseModel], key: str) -> tuple[str, FieldInfo] | None:
    """The field of a model that a key stands for."""
    for name, field in model.model_fields.items():
        if key in names_of(name, field):
            return name, field
    return None


def names_of(name: str, field: FieldInfo) -> tuple[str, ...]:
    """The keys under which a field may be written, the usual one first."""
    alias = field.validation_alias
    names = tuple(str(choice) for choice in alias.choices) if isinstance(alias, AliasChoices) else (name,)
    return names if name in names else (*names, name)


def bare(annotation: Any) -> Any:
    """An annotation without `Annotated` and without `| None`."""
    while get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    if is_union(annotation) and not is_step(annotation):
        rest = [bare(member) for member in get_args(annotation) if member is not type(None)]
        return rest[0] if len(rest) == 1 else Union[tuple(rest)]  # noqa: UP007  (built from a list)
    return annotation


def is_union(annotation: Any) -> bool:
    return get_origin(annotation) in (Union, types.UnionType)


def is_step(annotation: Any) -> bool:
    """Whether an annotation is the union of all steps."""
    while get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    return is_union(annotation) and set(get_args(annotation)) == set(STEP_KINDS.values())


def is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)
