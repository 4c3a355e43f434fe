"""YAML as plain data in which every value and every key knows its line and column.

Only plain data is accepted: tags and duplicate keys are refused (with the positions of both keys), and so are aliases
that expand without end. Dates stay texts.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias, cast

from flows.errors import InvalidPipeline, Problem
from flows.state import short_repr

MAX_VALUES = 200_000
MAX_DEPTH = 60
_SCALARS = ("str", "int", "float", "bool", "null", "timestamp", "value", "merge")

Position: TypeAlias = tuple[int, int]
"""Line and column, counted from 1; (0, 0) is unknown."""


@dataclass
class YamlNode:
    """One value of a document: a mapping has `entries`, a list has `items`, any other value is `scalar`."""

    line: int = 0
    column: int = 0
    scalar: Any = None
    entries: dict[Any, "YamlNode"] | None = None
    items: list["YamlNode"] | None = None
    key_positions: dict[Any, Position] = field(default_factory=dict[Any, Position])

    @property
    def position(self) -> Position:
        return (self.line, self.column)

    @property
    def is_null(self) -> bool:
        return self.entries is None and self.items is None and self.scalar is None

    @property
    def children(self) -> Iterator["YamlNode"]:
        """The values directly inside a mapping or a list."""
        yield from (self.entries or {}).values()
        yield from self.items or ()

    def key_position(self, key: Any) -> Position:
        """The position of a key of this mapping; the position of the mapping if it has no such key."""
        return self.key_positions.get(key, self.position)

    def data(self) -> Any:
        """The value as plain data."""
        if self.entries is not None:
            return {key: node.data() for key, node in self.entries.items()}
        if self.items is not None:
            return [node.data() for node in self.items]
        return self.scalar

    def texts(self) -> Iterator[str]:
        """Yield every text in the value, at any depth, without the keys of mappings."""
        if isinstance(self.scalar, str):
            yield self.scalar
        for child in self.children:
            yield from child.texts()

    def description(self) -> str:
        """The value as a message quotes it: a scalar itself, a mapping or a list only by its kind."""
        if self.entries is not None:
            return "a mapping"
        if self.items is not None:
            return "a list"
        if self.scalar is None:
            return "nothing"
        return str(self.scalar).lower() if isinstance(self.scalar, bool) else short_repr(self.scalar)


def node_of(value: Any) -> YamlNode:
    """Plain data as a node without positions."""
    if isinstance(value, Mapping):
        return YamlNode(entries={key: node_of(item) for key, item in cast("Mapping[Any, Any]", value).items()})
    if isinstance(value, (list, tuple)):
        return YamlNode(items=[node_of(item) for item in cast("Sequence[Any]", value)])
    return YamlNode(scalar=value)


@dataclass
class YamlDocument:
    """The value in a text, and the problems that leave the rest of it readable (tags, duplicate keys)."""

    root: YamlNode | None
    problems: tuple[Problem, ...] = ()


def read_yaml(text: str, *, file: str) -> YamlDocument:
    """The document in `text`; its root is None if the text is empty.

    Raises:
        InvalidPipeline: the syntax is wrong, or the aliases, the depth or the size of the document have no end.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    try:
        yaml: Any = YAML(typ="safe", pure=True)
        composed: Any = yaml.compose(text)
    except MarkedYAMLError as error:
        raise InvalidPipeline([_syntax_problem(error, file)]) from error
    except YAMLError as error:
        raise InvalidPipeline([_bad_character_problem(error, text, file)]) from error
    except RecursionError as error:
        raise InvalidPipeline([Problem(file, 1, 1, "too-deep", "this is nested too deeply to be read")]) from error
    if composed is None:
        return YamlDocument(None)
    reader = _Reader(file, yaml.constructor)
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

    file: str
    constructor: Any
    problems: list[Problem] = field(default_factory=list[Problem])
    known: dict[int, YamlNode] = field(default_factory=dict[int, YamlNode])
    endless: bool = False

    def problem(self, raw: Any, code: str, message: str) -> None:
        line, column = _position(raw)
        self.problems.append(Problem(self.file, line, column, code, message))

    def read(self, raw: Any, within: tuple[int, ...]) -> YamlNode | None:
        if len(within) > MAX_DEPTH:
            self.problem(raw, "too-deep", f"this is nested more than {MAX_DEPTH} levels deep")
            self.endless = True
            return None
        if id(raw) in within:
            self.problem(raw, "endless-alias", "this value contains itself through an alias")
            self.endless = True
            return None
        if id(raw) in self.known:
            return self.known[id(raw)]
        line, column = _position(raw)
        node = YamlNode(line, column)
        kind = _tag_name(raw)
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

    def _read_mapping(self, raw: Any, node: YamlNode, within: tuple[int, ...]) -> None:
        node.entries = {}
        merged: list[YamlNode] = []
        for raw_key, raw_value in raw.value:
            value = self.read(raw_value, within)
            if _tag_name(raw_key) == "merge":
                merged.extend(self._merge_key_nodes(raw_key, value))
                continue
            if not isinstance(raw_key.value, str):
                self.problem(raw_key, "bad-key", "a key must be a text, not a list or a mapping")
                continue
            key = self._scalar(raw_key, _tag_name(raw_key))
            if key in node.entries:
                first = node.key_positions[key][0]
                self.problem(raw_key, "duplicate-key", f"the key {key!r} is repeated here; it is first on line {first}")
            elif value is not None:
                node.entries[key] = value
                node.key_positions[key] = _position(raw_key)
        for other in merged:
            for key, value in (other.entries or {}).items():
                if key not in node.entries:
                    node.entries[key] = value
                    node.key_positions[key] = other.key_position(key)

    def _merge_key_nodes(self, raw_key: Any, value: YamlNode | None) -> list[YamlNode]:
        nodes = [] if value is None else value.items if value.items is not None else [value]
        for node in nodes:
            if node.entries is None:
                self.problem(raw_key, "bad-merge", "'<<' merges a mapping, or a list of mappings")
        return nodes

    def _scalar(self, raw: Any, kind: str) -> Any:
        if kind in ("timestamp", "value", "merge", "str"):
            return raw.value
        try:
            return self.constructor.construct_object(raw)
        except (ValueError, OverflowError):
            self.problem(raw, "bad-number", f"{raw.value[:40]!r} cannot be read as a number; quote it to make it text")
            return None

    def check_size(self, root: YamlNode) -> None:
        """Refuse aliases of aliases whose full expansion would fill the memory."""
        sizes: dict[int, int] = {}

        def size(node: YamlNode) -> int:
            if id(node) not in sizes:
                sizes[id(node)] = 1 + sum(size(child) for child in node.children)
            return sizes[id(node)]

        if size(root) > MAX_VALUES:
            self.endless = True
            message = f"this holds more than {MAX_VALUES} values"
            self.problems.append(Problem(self.file, root.line, root.column, "too-large", message))


def _tag_name(raw: Any) -> str:
    return str(raw.tag).removeprefix("tag:yaml.org,2002:")


def _position(raw: Any) -> Position:
    return (raw.start_mark.line + 1, raw.start_mark.column + 1)


def _syntax_problem(error: Any, file: str) -> Problem:
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)
    text = " ".join(str(error.problem or error.context or "this is not YAML").split())
    if "another document" in text:
        return Problem(file, line, column, "syntax", "a second document begins here; a file holds one pipeline")
    if "'\\t'" in text:
        return Problem(file, line, column, "syntax", "indent with spaces: YAML allows no tabs here")
    began = error.context_mark
    since = f" ({error.context}, which began on line {began.line + 1})" if error.context and began is not None else ""
    return Problem(file, line, column, "syntax", f"this is not YAML: {text}{since}")


def _bad_character_problem(error: Any, text: str, file: str) -> Problem:
    index = getattr(error, "position", None)
    before = text[:index] if isinstance(index, int) else ""
    line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
    character = text[len(before) : len(before) + 1]
    return Problem(file, line, column, "syntax", f"this is not YAML: the character {character!r} is not allowed")
