"""YAML as plain data in which every value and every key remembers its line and column.

YAML is data here: tags are refused, so are duplicate keys (with the places of both) and aliases that multiply without
end. Dates stay the text that they are written as.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias, cast

from flows.errors import InvalidPipeline, Problem

MOST_VALUES = 200_000
DEEPEST = 60
_SCALARS = ("str", "int", "float", "bool", "null", "timestamp", "value", "merge")

Position: TypeAlias = tuple[int, int]
"""Line and column, counted from 1; (0, 0) is unknown."""


@dataclass
class Node:
    """One value of a document: a mapping has `entries`, a list has `items`, all else has `scalar`."""

    line: int = 0
    column: int = 0
    scalar: Any = None
    entries: dict[Any, "Node"] | None = None
    items: list["Node"] | None = None
    key_places: dict[Any, Position] = field(default_factory=dict[Any, Position])

    @property
    def place(self) -> Position:
        return (self.line, self.column)

    def key_place(self, key: Any) -> Position:
        """Where a key of this mapping stands; the place of the mapping if it has no such key."""
        return self.key_places.get(key, self.place)

    def data(self) -> Any:
        """The value as plain data."""
        if self.entries is not None:
            return {key: node.data() for key, node in self.entries.items()}
        if self.items is not None:
            return [node.data() for node in self.items]
        return self.scalar


def node_of(value: Any) -> Node:
    """Plain data as a node without places."""
    if isinstance(value, Mapping):
        return Node(entries={key: node_of(item) for key, item in cast("Mapping[Any, Any]", value).items()})
    if isinstance(value, (list, tuple)):
        return Node(items=[node_of(item) for item in cast("Sequence[Any]", value)])
    return Node(scalar=value)


@dataclass
class YamlDocument:
    """What a text holds, and what was wrong with it but left the rest readable (tags, duplicate keys)."""

    root: Node | None
    problems: tuple[Problem, ...] = ()


def read_yaml(text: str, *, source: str) -> YamlDocument:
    """The document in `text`; its root is None if it holds nothing.

    Raises:
        InvalidPipeline: the syntax is wrong, or its aliases, its depth or its size have no end.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    try:
        yaml: Any = YAML(typ="safe", pure=True)
        composed: Any = yaml.compose(text)
    except MarkedYAMLError as error:
        raise InvalidPipeline([_syntax_problem(error, source)]) from error
    except YAMLError as error:
        raise InvalidPipeline([_unreadable_character(error, text, source)]) from error
    except RecursionError as error:
        raise InvalidPipeline([Problem(source, 1, 1, "too-deep", "this is nested too deeply to be read")]) from error
    if composed is None:
        return YamlDocument(None)
    reader = _Reader(source, yaml.constructor)
    node = reader.read(composed, ())
    if node is not None and not reader.endless:
        reader.check_size(node)
    problems = tuple(sorted(set(reader.problems)))
    if reader.endless:
        raise InvalidPipeline(problems)
    return YamlDocument(node, problems)


@dataclass
class _Reader:
    """Turns ruamel's nodes into ours; an anchored node is read once and shared."""

    source: str
    constructor: Any
    problems: list[Problem] = field(default_factory=list[Problem])
    known: dict[int, Node] = field(default_factory=dict[int, Node])
    endless: bool = False

    def problem(self, raw: Any, code: str, message: str) -> None:
        line, column = _place(raw)
        self.problems.append(Problem(self.source, line, column, code, message))

    def read(self, raw: Any, within: tuple[int, ...]) -> Node | None:
        if len(within) > DEEPEST:
            self.problem(raw, "too-deep", f"this is nested more than {DEEPEST} levels deep")
            self.endless = True
            return None
        if id(raw) in within:
            self.problem(raw, "endless-alias", "this value contains itself through an alias")
            self.endless = True
            return None
        if id(raw) in self.known:
            return self.known[id(raw)]
        line, column = _place(raw)
        node = Node(line, column)
        kind = _kind(raw)
        if kind not in (*_SCALARS, "seq", "map"):
            self.problem(raw, "tag", f"the tag {raw.tag} is not allowed here: pipelines are plain data")
            kind = "map" if raw.id == "mapping" else "seq" if raw.id == "sequence" else "str"
        if kind == "seq":
            read = [self.read(item, (*within, id(raw))) for item in raw.value]
            node.items = [item for item in read if item is not None]
        elif kind == "map":
            self._read_mapping(raw, node, (*within, id(raw)))
        else:
            node.scalar = self._scalar(raw, kind)
        self.known[id(raw)] = node
        return node

    def _read_mapping(self, raw: Any, node: Node, within: tuple[int, ...]) -> None:
        node.entries = {}
        merged: list[Node] = []
        for raw_key, raw_value in raw.value:
            value = self.read(raw_value, within)
            if _kind(raw_key) == "merge":
                merged.extend(self._merged(raw_key, value))
                continue
            if not isinstance(raw_key.value, str):
                self.problem(raw_key, "bad-key", "a key is a text, not a list or a mapping")
                continue
            key = self._scalar(raw_key, _kind(raw_key))
            if key in node.entries:
                first = node.key_places[key][0]
                self.problem(raw_key, "duplicate-key", f"the key {key!r} stands here again, first on line {first}")
            elif value is not None:
                node.entries[key] = value
                node.key_places[key] = _place(raw_key)
        for other in merged:
            for key, value in (other.entries or {}).items():
                if key not in node.entries:
                    node.entries[key] = value
                    node.key_places[key] = other.key_place(key)

    def _merged(self, raw_key: Any, value: Node | None) -> list[Node]:
        nodes = [] if value is None else value.items if value.items is not None else [value]
        for node in nodes:
            if node.entries is None:
                self.problem(raw_key, "bad-merge", "'<<' takes in a mapping, or a list of mappings")
        return nodes

    def _scalar(self, raw: Any, kind: str) -> Any:
        if kind in ("timestamp", "value", "merge", "str"):
            return raw.value
        try:
            return self.constructor.construct_object(raw)
        except (ValueError, OverflowError):
            self.problem(raw, "bad-number", f"{raw.value[:40]!r} cannot be read as a number; quote it to make it text")
            return None

    def check_size(self, root: Node) -> None:
        """Refuse aliases of aliases whose full expansion would fill the memory."""
        sizes: dict[int, int] = {}

        def size(node: Node) -> int:
            if id(node) not in sizes:
                sizes[id(node)] = 1 + sum(size(child) for child in _children(node))
            return sizes[id(node)]

        if size(root) > MOST_VALUES:
            self.endless = True
            self.problems.append(
                Problem(self.source, root.line, root.column, "too-large", f"this holds more than {MOST_VALUES} values")
            )


def _children(node: Node) -> Iterator[Node]:
    yield from (node.entries or {}).values()
    yield from node.items or ()


def _kind(raw: Any) -> str:
    tag = str(raw.tag)
    return tag.removeprefix("tag:yaml.org,2002:") if tag.startswith("tag:yaml.org,2002:") else tag


def _place(raw: Any) -> Position:
    return (raw.start_mark.line + 1, raw.start_mark.column + 1)


def _syntax_problem(error: Any, source: str) -> Problem:
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)
    what = " ".join(str(error.problem or error.context or "this is not YAML").split())
    if "another document" in what:
        return Problem(source, line, column, "syntax", "a second document begins here; a file holds one pipeline")
    if "'\\t'" in what:
        return Problem(source, line, column, "syntax", "indent with spaces: YAML allows no tabs here")
    began = error.context_mark
    since = f" ({error.context}, which began on line {began.line + 1})" if error.context and began is not None else ""
    return Problem(source, line, column, "syntax", f"this is not YAML: {what}{since}")


def _unreadable_character(error: Any, text: str, source: str) -> Problem:
    position = getattr(error, "position", None)
    before = text[:position] if isinstance(position, int) else ""
    return Problem(
        source,
        before.count("\n") + 1,
        len(before) - (before.rfind("\n") + 1) + 1,
        "syntax",
        f"this is not YAML: the character {text[len(before) : len(before) + 1]!r} is not allowed",
    )
