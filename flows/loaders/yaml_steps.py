"""The steps in a YAML document, read from their short and full forms as the models will read them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import get_args

from flows.loaders.yaml_nodes import Position, YamlNode
from flows.model import KIND_BY_KEY, NESTING_KEYS, Step, StepFields, telling_key

STEP_KINDS: dict[str, type[StepFields]] = {
    model.model_fields["type"].default: model for model in get_args(get_args(Step)[0])
}

_SYNONYMS = {
    "branches": ("branches", "parallel"),
    "over": ("over", "for_each"),
    "from": ("from", "source", "merge_results"),
    "name": ("name", "pipeline"),
}
"""The alternative keys of short forms, by the key of the full form."""


@dataclass(frozen=True)
class YamlStep:
    """A step in a document: its path, its value and its type ('' if the type is unknown)."""

    path: str
    node: YamlNode
    kind: str


class StepPositions:
    """The positions of a pipeline's steps, and of the keys in them, in its file."""

    def __init__(self, root: YamlNode) -> None:
        self.root = root
        self.steps: dict[str, YamlNode] = {}
        self.ids: dict[str, str] = {}
        for found in steps_in(root):
            self.steps.setdefault(found.path, found.node)
            declared = lookup(found.node, ("id",))
            if declared is not None and isinstance(declared[0].scalar, str):
                self.ids.setdefault(declared[0].scalar, found.path)

    def position_of(self, path: str, *keys: str) -> Position:
        """Line and column of a step, or of a key in it (`position_of("1.2", "options", "limit")`); (0, 0) if unknown.

        `path` is the path of a step (`"1.2"`) or its id; `""` is the pipeline. If the file does not have the key (a
        default, a key of a short form), the position is that of the nearest enclosing value.
        """
        if not path:
            return _key_position(self.root, keys)
        found = path if path in self.steps else self.ids.get(path, path)
        while found not in self.steps:
            found, separator, _ = found.rpartition(".")
            if not separator:
                return (0, 0)
        return _key_position(self.steps[found], keys)


def _key_position(node: YamlNode, keys: tuple[str, ...]) -> Position:
    position = node.position
    for key in keys:
        found = lookup(node, _SYNONYMS.get(key, (key,)))
        if found is None:
            break
        node, position, _ = found
    return position


def steps_in(root: YamlNode) -> Iterator[YamlStep]:
    """Yield every step of a document, parents before children, in the order of `flows.model.steps.child_steps`."""
    steps = (root.entries or {}).get("steps") if root.entries is not None else root
    yield from _steps((steps.items if steps is not None else None) or [], "")


def _steps(nodes: Sequence[YamlNode], prefix: str) -> Iterator[YamlStep]:
    for index, node in enumerate(nodes):
        path = f"{prefix}{index}"
        step = unwrapped(node)
        kind = kind_of(step)
        yield YamlStep(path, step, kind)
        yield from _steps(child_nodes(step, kind), f"{path}.")


def unwrapped(node: YamlNode) -> YamlNode:
    """The step itself if a list holds only one step."""
    while node.items is not None and len(node.items) == 1:
        node = node.items[0]
    return node


def kind_of(step: YamlNode) -> str:
    """The `type` that the models will read in a step; '' if it is unknown."""
    if step.items is not None:
        return "sequential"
    if step.entries is None:
        return "handler" if isinstance(step.scalar, str) else ""
    if "type" in step.entries:
        kind = step.entries["type"].scalar
        return kind if isinstance(kind, str) and kind in STEP_KINDS else ""
    return KIND_BY_KEY.get(telling_key(step.entries) or "", "")


def child_nodes(step: YamlNode, kind: str) -> list[YamlNode]:
    """The steps directly inside a step."""
    if step.items is not None:
        return step.items
    if kind == "switch":
        cases = _items_at(step, ("cases", "switch"))
        return [inner for case in cases for inner in _items_at(case, ("steps",))] + _items_at(step, ("default",))
    if kind == "parallel":
        return _items_at(step, ("branches", "parallel"))
    return _items_at(step, ("steps",)) if kind in ("for_each", "sequential") else []


def _items_at(node: YamlNode, names: tuple[str, ...]) -> list[YamlNode]:
    found = lookup(node, names)
    return (found[0].items or []) if found is not None else []


def scopes(node: YamlNode) -> list[YamlNode]:
    """The mappings that may hold the keys of a step: the step itself, and the mapping under its telling key."""
    if node.entries is None:
        return []
    inner = [node.entries[key] for key in NESTING_KEYS if key in node.entries]
    return [node, *(scope for scope in inner if scope.entries is not None)]


def lookup(node: YamlNode, names: Sequence[str]) -> tuple[YamlNode, Position, str] | None:
    """The value under the first of `names` that a step has, with its position and that name."""
    for name in names:
        for scope in scopes(node):
            value = (scope.entries or {}).get(name)
            if value is not None and not (name in NESTING_KEYS and value.entries is not None):
                return value, scope.key_position(name) if value.position == (0, 0) else value.position, name
    return None
