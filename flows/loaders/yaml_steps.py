"""Which value of a document a step, or a place in the step model, was read from.

The models read short forms (`parallel: {branches: …}`, `for_each: docs`, a list as a branch); here the way back is
found: from a step's position, or from the location that pydantic gives an error, to the value in the file.
"""

import types
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import AliasChoices, BaseModel
from pydantic.fields import FieldInfo

from flows.loaders.positions import Node, Position
from flows.model import KIND_BY_KEY, ForEach, MergeResults, Pipeline, Policy, Step, StepFields

INNER_KEYS = ("parallel", "for_each", "merge_results", "switch")
"""Keys under which a step's other keys may stand."""
STEP_KINDS: dict[str, type[StepFields]] = {
    model.model_fields["type"].default: model for model in get_args(get_args(Step)[0])
}

_SAME = {
    "branches": ("branches", "parallel"),
    "over": ("over", "for_each"),
    "from": ("from", "source", "merge_results"),
    "name": ("name", "pipeline"),
}
"""What says the same as a key in a short form of its step."""


@dataclass(frozen=True)
class StepNode:
    """A step in a document: its dotted position, its value and its kind ('' if that cannot be told)."""

    path: str
    node: Node
    kind: str


@dataclass(frozen=True)
class Spot:
    """Where a location of the model leads: the value, what is expected there, and the key the author wrote."""

    node: Node
    place: Position
    expected: Any
    key: str = ""
    index: int | None = None
    owner: type[BaseModel] | None = None
    union: Node | None = None
    """The value for which several types were tried, if the location leads through such a choice."""
    union_expected: Any = None


class SourceMap:
    """Where the steps of a pipeline, and the keys in them, stand in its file."""

    def __init__(self, root: Node | None = None) -> None:
        self.root = root
        self.steps: dict[str, Node] = {}
        self.ids: dict[str, str] = {}
        for found in steps_in(root) if root is not None else ():
            self.steps.setdefault(found.path, found.node)
            declared = lookup(found.node, ("id",))
            if declared is not None and isinstance(declared[0].scalar, str):
                self.ids.setdefault(declared[0].scalar, found.path)

    def place(self, path: str | Sequence[int | str], *keys: str) -> Position:
        """Line and column of a step, or of a key in it (`place("1.2", "options", "limit")`); (0, 0) if unknown.

        `path` is the dotted position of a step (`"1.2"`), its id, or a location as pydantic gives it. What is not
        in the file (a default, a key of a short form) has the place of the nearest thing around it that is.
        """
        if self.root is None:
            return (0, 0)
        if not isinstance(path, str):
            return follow(self.root, tuple(path)).place
        if not path:
            return _within(self.root, keys)
        position = path if path in self.steps else self.ids.get(path, path)
        while position not in self.steps:
            position, separator, _ = position.rpartition(".")
            if not separator:
                return (0, 0)
        return _within(self.steps[position], keys)


def _within(node: Node, keys: tuple[str, ...]) -> Position:
    place = node.place
    for key in keys:
        found = lookup(node, _SAME.get(key, (key,)))
        if found is None:
            break
        node, place, _ = found
    return place


def steps_in(root: Node) -> Iterator[StepNode]:
    """Every step of a pipeline's document, parents before children, in the order of `flows.model.steps.child_steps`."""
    steps = (root.entries or {}).get("steps") if root.entries is not None else root
    yield from _steps((steps.items if steps is not None else None) or [], "")


def _steps(nodes: Sequence[Node], prefix: str) -> Iterator[StepNode]:
    for index, node in enumerate(nodes):
        path = f"{prefix}{index}"
        step = unwrapped(node)
        kind = kind_of(step)
        yield StepNode(path, step, kind)
        yield from _steps(child_nodes(step, kind), f"{path}.")


def unwrapped(node: Node) -> Node:
    """A list of one step is that step."""
    while node.items is not None and len(node.items) == 1:
        node = node.items[0]
    return node


def kind_of(step: Node) -> str:
    """The `type` of a step as the models will read it; '' if that cannot be told."""
    if step.items is not None:
        return "sequential"
    if step.entries is None:
        return "handler" if isinstance(step.scalar, str) else ""
    if "type" in step.entries:
        kind = step.entries["type"].scalar
        return kind if isinstance(kind, str) and kind in STEP_KINDS else ""
    return next((kind for key, kind in KIND_BY_KEY.items() if key in step.entries), "")


def child_nodes(step: Node, kind: str) -> list[Node]:
    """The steps directly inside a step."""
    if step.items is not None:
        return step.items
    if kind == "switch":
        cases = _listed(step, ("cases", "switch"))
        return [inner for case in cases for inner in _listed(case, ("steps",))] + _listed(step, ("default",))
    if kind == "parallel":
        return _listed(step, ("branches", "parallel"))
    return _listed(step, ("steps",)) if kind in ("for_each", "sequential") else []


def _listed(node: Node, names: tuple[str, ...]) -> list[Node]:
    found = lookup(node, names)
    return (found[0].items or []) if found is not None else []


def scopes(node: Node) -> list[Node]:
    """The mappings in which the keys of a step may stand: the step's own, and the one under its telling key."""
    if node.entries is None:
        return []
    inner = [node.entries[key] for key in INNER_KEYS if key in node.entries]
    return [node, *(scope for scope in inner if scope.entries is not None)]


def lookup(node: Node, names: Sequence[str]) -> tuple[Node, Position, str] | None:
    """The value under the first of `names` that a step has, the place of it, and that name."""
    for name in names:
        for scope in scopes(node):
            value = (scope.entries or {}).get(name)
            if value is not None and not (name in INNER_KEYS and value.entries is not None):
                return value, scope.key_place(name) if value.place == (0, 0) else value.place, name
    return None


def follow(root: Node, location: Sequence[int | str], *, model: Any = Pipeline) -> Spot:
    """Where a location in the model leads in the document; what does not exist there ends at its nearest ancestor."""
    spot = Spot(root, root.place, model)
    for part in location:
        spot = _step_down(spot, part)
    return spot


def _step_down(spot: Spot, part: int | str) -> Spot:
    expected = bare(spot.expected)
    if is_step(expected) and part in STEP_KINDS:
        step = unwrapped(spot.node)
        return Spot(step, step.place, STEP_KINDS[str(part)], spot.key, spot.index, spot.owner)
    if isinstance(expected, type) and issubclass(expected, BaseModel):
        return _into_field(spot, expected, str(part))
    if get_origin(expected) is dict:
        return _into_mapping(spot, expected, part)
    if isinstance(part, int):
        items = spot.node.items
        child = items[part] if items is not None and part < len(items) else spot.node
        inner = get_args(expected)[0] if get_origin(expected) in (tuple, list) else Any
        return Spot(child, child.place, inner, spot.key, part, spot.owner)
    if is_union(expected):
        chosen = next((m for m in get_args(expected) if getattr(m, "__name__", "") == part), Any)
        return Spot(
            spot.node, spot.place, chosen, spot.key, spot.index, spot.owner, union=spot.node, union_expected=expected
        )
    child = (spot.node.entries or {}).get(part, spot.node)
    return Spot(child, child.place, Any, str(part), owner=spot.owner)


def _into_mapping(spot: Spot, expected: Any, key: int | str) -> Spot:
    inner = get_args(expected)[1]
    for index, item in enumerate(spot.node.items or ()):  # `collect: [a, b]` stands for a mapping
        if item.scalar == key:
            return Spot(item, item.place, inner, spot.key, index, spot.owner)
    child = (spot.node.entries or {}).get(key, spot.node)
    return Spot(child, child.place, inner, str(key), owner=spot.owner)


def _into_field(spot: Spot, model: type[BaseModel], name: str) -> Spot:
    union = (spot.union, spot.union_expected)
    found_field = field_named(model, name)
    if found_field is None:
        for scope in scopes(spot.node):
            if name in (scope.entries or {}):
                return Spot(scope, scope.key_place(name), model, name, None, model, *union)
        if model is Policy and len(spot.node.entries or {}) == 1:  # `minimum_threshold: n` stands for the rule
            ((key, value),) = (spot.node.entries or {}).items()
            return Spot(value, value.place, int, str(key), None, model, *union)
        return Spot(spot.node, spot.place, model, name, None, model, *union)
    field_name, field = found_field
    names = (name, *(known for known in names_of(field_name, field) if known != name))
    found = lookup(spot.node, names) if issubclass(model, (StepFields, Pipeline)) else _plain(spot.node, names)
    if found is not None:
        node, place, key = found
        return Spot(node, place, field.annotation, key, None, model, *union)
    # What a short form says without the key: `for_each: docs`, a list as a branch, a handler's bare name.
    telling = "for_each" if model is ForEach else "merge_results" if model is MergeResults else ""
    short = (spot.node.entries or {}).get(telling) if telling and field_name in ("over", "source") else None
    if short is not None and short.entries is None:
        return Spot(short, short.place, field.annotation, str(telling), None, model, *union)
    if spot.node.entries is None and field_name in ("steps", "handler"):
        return Spot(spot.node, spot.place, field.annotation, field_name, None, model, *union)
    return Spot(spot.node, spot.place, field.annotation, names[0], None, model, *union)


def _plain(node: Node, names: Sequence[str]) -> tuple[Node, Position, str] | None:
    for name in names:
        if name in (node.entries or {}):
            value = (node.entries or {})[name]
            return value, value.place, name
    return None


def field_named(model: type[BaseModel], key: str) -> tuple[str, FieldInfo] | None:
    """The field that a key of a model stands for."""
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
