"""What the loader of a foreign dialect needs: keys taken one by one, problems at their places, native values built."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from flows.errors import Problem
from flows.loaders.positions import Node, Position, node_of
from flows.model import NAME_PATTERN


@dataclass
class Notes:
    """What is wrong, or worth a warning, with one foreign file; and the ids that its steps have taken."""

    source: str
    problems: list[Problem] = field(default_factory=list[Problem])
    prefix: str = ""
    taken: set[str] = field(default_factory=set[str])

    def error(self, place: Position, code: str, message: str) -> None:
        self.problems.append(Problem(self.source, *place, code, self.prefix + message))

    def warn(self, place: Position, code: str, message: str) -> None:
        self.problems.append(Problem(self.source, *place, code, self.prefix + message, "warning"))


UNREADABLE = "unreadable_step"


def unreadable(at: Node) -> Node:
    """Keeps the place of a step that cannot be read, so that those after it keep their numbers."""
    return Node(*at.place, scalar=UNREADABLE)


class Keys:
    """The keys of one foreign mapping, by their usual names.

    A key that is nearly a known one is reported and read as that one; any other unknown key is reported. `normal`
    turns a key as written into its usual name, `shown` turns that into what a message shows.
    """

    def __init__(
        self,
        node: Node,
        notes: Notes,
        owner: str,
        known: Sequence[str],
        *,
        normal: Callable[[str], str] = str,
        shown: Callable[[str], str] = str,
    ) -> None:
        self.node, self.notes, self.owner = node, notes, owner
        self.found: dict[str, tuple[Any, Node]] = {}
        strange: list[Any] = []
        for key, value in (node.entries or {}).items():
            usual = normal(str(key))
            if usual not in known:
                strange.append(key)
            elif usual in self.found:
                message = f"{str(self.found[usual][0])!r} says the same as {str(key)!r} here; keep one of them"
                notes.error(node.key_place(key), "twice", message)
            else:
                self.found[usual] = (key, value)
        for key in strange:
            missing = [name for name in known if name not in self.found]
            close = get_close_matches(normal(str(key)), missing, n=1, cutoff=0.7)
            hint = f"; did you mean {shown(close[0])!r}?" if close else f"; known are: {', '.join(map(shown, known))}"
            notes.error(node.key_place(key), "unknown-key", f"{str(key)!r} is no key of {owner}{hint}")
            if close:
                self.found[close[0]] = (key, (node.entries or {})[key])

    def __contains__(self, name: str) -> bool:
        return name in self.found

    def node_at(self, name: str) -> Node | None:
        """The value of a key, None if it is missing or says nothing."""
        found = self.found.get(name)
        return None if found is None or is_nothing(found[1]) else found[1]

    def place(self, name: str) -> Position:
        """Where the value of a key stands; the mapping's own place if it has no such key."""
        found = self.found.get(name)
        return found[1].place if found is not None else self.node.place

    def text(self, name: str) -> str | None:
        """The text under a key; anything else is reported."""
        node = self.node_at(name)
        if node is None:
            return None
        if isinstance(node.scalar, str):
            return node.scalar
        self.wrong(name, "a text")
        return None

    def flag(self, name: str, default: bool) -> bool:
        """The truth value under a key; anything else is reported."""
        node = self.node_at(name)
        if node is None:
            return default
        if isinstance(node.scalar, bool):
            return node.scalar
        self.wrong(name, "true or false")
        return default

    def number(self, name: str) -> int | None:
        """The whole number under a key; anything else is reported."""
        node = self.node_at(name)
        if node is None:
            return None
        if isinstance(node.scalar, int) and not isinstance(node.scalar, bool):
            return node.scalar
        self.wrong(name, "a whole number")
        return None

    def listed(self, name: str, what: str) -> list[Node] | None:
        """The items of the list under a key; anything else is reported. None if the key is missing or says nothing."""
        node = self.node_at(name)
        if node is None:
            return None
        if node.items is not None:
            return node.items
        self.wrong(name, what)
        return []

    def mapping(self, name: str) -> Mapping[Any, Node]:
        """The entries of the mapping under a key; anything else is reported."""
        node = self.node_at(name)
        if node is not None and node.entries is None:
            self.wrong(name, "a mapping")
        return (node.entries if node is not None else None) or {}

    def passed_on(self, *names: str) -> dict[str, Node]:
        """The keys that mean the same in native YAML."""
        return {name: node for name in names if (node := self.node_at(name)) is not None}

    def wrong(self, name: str, what: str) -> None:
        key, node = self.found[name]
        self.notes.error(node.place, "bad-value", f"{str(key)!r} must be {what}, not {given(node)}")


def built(at: Node, entries: Mapping[str, Any]) -> Node:
    """A native mapping that stands where `at` does; nodes among its values keep their own places."""
    node = Node(at.line, at.column, entries={})
    for key, value in entries.items():
        child = value if isinstance(value, Node) else placed(node_of(value), at)
        node.entries = {**(node.entries or {}), key: child}
        node.key_places[key] = child.place
    return node


def listed(at: Node, items: Sequence[Node]) -> Node:
    """A native list that stands where `at` does."""
    return Node(at.line, at.column, items=list(items))


def placed(node: Node, at: Node) -> Node:
    """A value without a place, put where `at` is."""
    node.line, node.column = at.place
    for child in (*(node.entries or {}).values(), *(node.items or ())):
        placed(child, at)
    return node


def identity(name: str | None, notes: Notes) -> dict[str, Any]:
    """The native `id` (and `name`, where the author's cannot be an id) of a step."""
    if name is None or not name.strip():
        return {}
    chosen = re.sub(r"[^A-Za-z0-9_.\-]+", "_", name).strip("_")
    chosen = chosen if re.match(NAME_PATTERN, chosen) else f"_{chosen}"
    if chosen in notes.taken:
        return {"name": name}
    notes.taken.add(chosen)
    return {"id": chosen} if chosen == name else {"id": chosen, "name": name}


def texts_in(value: Any) -> Iterator[str]:
    """Every text in nested data."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():  # pyright: ignore[reportUnknownVariableType]
            yield from texts_in(item)
    elif isinstance(value, (list, tuple)):
        for item in value:  # pyright: ignore[reportUnknownVariableType]
            yield from texts_in(item)


def is_nothing(node: Node) -> bool:
    return node.entries is None and node.items is None and node.scalar is None


def given(node: Node) -> str:
    """A value as a message shows it."""
    if node.entries is not None:
        return "a mapping"
    if node.items is not None:
        return "a list"
    if isinstance(node.scalar, bool):
        return str(node.scalar).lower()
    return "nothing" if node.scalar is None else repr(node.scalar)
