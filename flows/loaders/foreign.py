"""Tools for the loader of a foreign dialect: they read keys, report problems at their positions, build native nodes."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from flows.errors import Problem
from flows.loaders.yaml_nodes import Position, YamlNode, node_of
from flows.model import NAME_PATTERN


@dataclass
class Translation:
    """The translation of one foreign file: its problems and warnings, and the ids that its steps have taken."""

    file: str
    problems: list[Problem] = field(default_factory=list[Problem])
    prefix: str = ""
    taken: set[str] = field(default_factory=set[str])

    def error(self, position: Position, code: str, message: str) -> None:
        self.problems.append(Problem(self.file, *position, code, self.prefix + message))

    def warn(self, position: Position, code: str, message: str) -> None:
        self.problems.append(Problem(self.file, *position, code, self.prefix + message, "warning"))


UNREADABLE = "unreadable_step"


def unreadable(at: YamlNode) -> YamlNode:
    """A stand-in for a step that cannot be read, so that the steps after it keep their numbers."""
    return YamlNode(*at.position, scalar=UNREADABLE)


class KeyReader:
    """Reads the keys of one foreign mapping by their usual names.

    A key that is nearly a known one is reported and read as that one; any other unknown key is reported. `normal`
    turns a key as written into its usual name, `written` turns that name into the spelling that messages use.
    """

    def __init__(
        self,
        node: YamlNode,
        translation: Translation,
        owner: str,
        known: Sequence[str],
        *,
        normal: Callable[[str], str] = str,
        written: Callable[[str], str] = str,
    ) -> None:
        self.node, self.translation, self.owner = node, translation, owner
        self.found: dict[str, tuple[Any, YamlNode]] = {}
        strange: list[Any] = []
        for key, value in (node.entries or {}).items():
            name = normal(str(key))
            if name not in known:
                strange.append(key)
            elif name in self.found:
                message = f"{str(self.found[name][0])!r} means the same as {str(key)!r} here; keep one of them"
                translation.error(node.key_position(key), "twice", message)
            else:
                self.found[name] = (key, value)
        for key in strange:
            missing = [name for name in known if name not in self.found]
            close = get_close_matches(normal(str(key)), missing, n=1, cutoff=0.7)
            hint = (
                f"; did you mean {written(close[0])!r}?" if close else f"; known are: {', '.join(map(written, known))}"
            )
            translation.error(node.key_position(key), "unknown-key", f"{str(key)!r} is not a key of {owner}{hint}")
            if close:
                self.found[close[0]] = (key, (node.entries or {})[key])

    def __contains__(self, name: str) -> bool:
        return name in self.found

    def node_at(self, name: str) -> YamlNode | None:
        """The value under a key; None if it is missing or null."""
        found = self.found.get(name)
        return None if found is None or found[1].is_null else found[1]

    def position_of(self, name: str) -> Position:
        """The position of the value under a key; the position of the mapping if it has no such key."""
        found = self.found.get(name)
        return found[1].position if found is not None else self.node.position

    def text(self, name: str) -> str | None:
        """The text under a key; any other value is reported."""
        node = self.node_at(name)
        if node is None:
            return None
        if isinstance(node.scalar, str):
            return node.scalar
        self.report(name, "a text")
        return None

    def flag(self, name: str, default: bool) -> bool:
        """The truth value under a key; any other value is reported."""
        node = self.node_at(name)
        if node is None:
            return default
        if isinstance(node.scalar, bool):
            return node.scalar
        self.report(name, "true or false")
        return default

    def number(self, name: str) -> int | None:
        """The whole number under a key; any other value is reported."""
        node = self.node_at(name)
        if node is None:
            return None
        if isinstance(node.scalar, int) and not isinstance(node.scalar, bool):
            return node.scalar
        self.report(name, "a whole number")
        return None

    def items(self, name: str, expected: str) -> list[YamlNode] | None:
        """The items of the list under a key, None if it is missing or null; any other value is reported."""
        node = self.node_at(name)
        if node is None:
            return None
        if node.items is not None:
            return node.items
        self.report(name, expected)
        return []

    def mapping(self, name: str) -> Mapping[Any, YamlNode]:
        """The entries of the mapping under a key; any other value is reported."""
        node = self.node_at(name)
        if node is not None and node.entries is None:
            self.report(name, "a mapping")
        return (node.entries if node is not None else None) or {}

    def unchanged(self, *names: str) -> dict[str, YamlNode]:
        """The values of keys that mean the same in native YAML."""
        return {name: node for name in names if (node := self.node_at(name)) is not None}

    def report(self, name: str, expected: str) -> None:
        """Report that the value under a key is not of the `expected` form."""
        key, node = self.found[name]
        message = f"{str(key)!r} must be {expected}, not {node.description()}"
        self.translation.error(node.position, "bad-value", message)


def built(at: YamlNode, entries: Mapping[str, Any]) -> YamlNode:
    """A native mapping at the position of `at`; nodes among its values keep their own positions."""
    node = YamlNode(at.line, at.column, entries={})
    for key, value in entries.items():
        child = value if isinstance(value, YamlNode) else _at_position(node_of(value), at)
        node.entries = {**(node.entries or {}), key: child}
        node.key_positions[key] = child.position
    return node


def listed(at: YamlNode, items: Sequence[YamlNode]) -> YamlNode:
    """A native list at the position of `at`."""
    return YamlNode(at.line, at.column, items=list(items))


def _at_position(node: YamlNode, at: YamlNode) -> YamlNode:
    """A node and everything in it, moved to the position of `at`."""
    node.line, node.column = at.position
    for child in node.children:
        _at_position(child, at)
    return node


def pipeline_name(keys: KeyReader, otherwise: str, *, key: str = "name") -> dict[str, Any]:
    """The native `name` of a pipeline; a name that cannot be one, such as `Three Voices`, is its description, too."""
    node = keys.node_at(key)
    if node is None:
        return {"name": otherwise}
    if isinstance(node.scalar, str) and node.scalar.strip() and (chosen := _id_of(node.scalar)) != node.scalar:
        return {"name": chosen, "description": node.scalar}
    return {"name": node}


def _id_of(name: str) -> str:
    chosen = re.sub(r"[^A-Za-z0-9_.\-]+", "_", name).strip("_")
    return chosen if re.match(NAME_PATTERN, chosen) else f"_{chosen}"


def identity(name: str | None, translation: Translation) -> dict[str, Any]:
    """The native `id` of a step, and its `name` if the author's name cannot be an id."""
    if name is None or not name.strip():
        return {}
    chosen = _id_of(name)
    if chosen in translation.taken:
        return {"name": name}
    translation.taken.add(chosen)
    return {"id": chosen} if chosen == name else {"id": chosen, "name": name}
