"""The errors of pydantic as problems in the author's words: the key, the value that it must have, and the cure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from flows.errors import Problem, suggest
from flows.loaders.error_locations import LocatedValue, bare, field_named, follow, is_model, names_of
from flows.loaders.wording import key_text, keys_of, owner_text, type_text
from flows.loaders.yaml_nodes import Position, YamlNode
from flows.loaders.yaml_steps import STEP_KINDS, lookup, scopes, unwrapped
from flows.model import KIND_BY_KEY, ForEach, Parallel, Sequential, StepFields

_BOUNDS = {
    "greater_than": ("gt", "more than"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "less than"),
    "less_than_equal": ("le", "at most"),
}
_NAME_RULE = "letters, digits, '_', '-' and '.', beginning with a letter or '_'"


@dataclass(frozen=True)
class Complaint:
    """A mistake in a document; `repair` changes the document to the author's most likely intention."""

    code: str
    message: str
    position: Position
    repair: Callable[[], None] | None = None

    def problem(self, file: str) -> Problem:
        return Problem(file, *self.position, self.code, self.message)


def complaints(invalid: ValidationError, root: YamlNode) -> list[Complaint]:
    """Each mistake once, at its position in the document, in no particular order."""
    errors: list[dict[str, Any]] = [dict(error) for error in invalid.errors(include_url=False)]
    located = [(error, _locate(error, root)) for error in errors]
    found = [_complaint(error, value) for error, value in _of_likeliest_types(located)]
    return [complaint for complaint in found if complaint is not None]


def _locate(error: Mapping[str, Any], root: YamlNode) -> LocatedValue:
    """The value that an error is about; of an unknown key, the mapping that it stands in."""
    location: tuple[int | str, ...] = error["loc"]
    if location[-1:] == ("[key]",):
        return follow(root, location[:-2])
    if error["type"] != "extra_forbidden":
        return follow(root, location)
    around, key = follow(root, location[:-1]), str(location[-1])
    scope = next((scope for scope in scopes(around.node) if key in (scope.entries or {})), around.node)
    union = (around.union, around.union_expected)
    model = bare(around.expected)
    return LocatedValue(scope, scope.key_position(key), model, key, None, model if is_model(model) else None, *union)


def _of_likeliest_types(
    found: list[tuple[dict[str, Any], LocatedValue]],
) -> list[tuple[dict[str, Any], LocatedValue]]:
    """For a value that pydantic tried as several types, keep the errors of the type that was most likely meant."""
    kept = [pair for pair in found if pair[1].union is None]
    unions: dict[int, list[tuple[dict[str, Any], LocatedValue]]] = {}
    for error, located in found:
        if located.union is not None:
            unions.setdefault(id(located.union), []).append((error, located))
    for tried in unions.values():
        _, first = tried[0]
        value = first.union or first.node
        models = [member for member in get_args(first.union_expected) if is_model(member)]
        if value.entries is None or not models:
            whole = LocatedValue(value, value.position, first.union_expected, first.key, first.index, first.owner)
            kept.append(({"type": "wrong_type"}, whole))
            continue
        meant = max(models, key=lambda model: _likeness(value, model))
        kept.extend((error, located) for error, located in tried if meant.__name__ in error["loc"])
    return kept


def _likeness(value: YamlNode, model: type[BaseModel]) -> float:
    known = keys_of(model)
    keys = [str(key) for key in value.entries or {}]
    return sum(1.0 if key in known else 0.5 if get_close_matches(key, known, n=1) else 0.0 for key in keys)


def _complaint(error: Mapping[str, Any], located: LocatedValue) -> Complaint | None:
    """The complaint about an error; None if the error only follows from another one."""
    kind: str = error["type"]
    if kind == "too_short" and error["input"]:
        return None  # items failed, which left the list too short
    if error.get("loc", ())[-1:] == ("[key]",):
        return _bad_key(error, located)
    if kind == "extra_forbidden":
        return _unknown_key(located)
    if kind == "union_tag_not_found":
        return _missing_type(located)
    if kind == "union_tag_invalid":
        return _unknown_type(located)
    if kind == "missing":
        return _missing_key(error, located)
    if kind == "too_short":
        return _empty_value(located)
    name, given = key_text(located), located.node.description()
    if kind in _BOUNDS:
        bound, words = _BOUNDS[kind]
        message = f"{name} must be {words} {error['ctx'][bound]:g}, not {given}"
        return Complaint("bad-value", message, located.position)
    if kind == "string_pattern_mismatch":
        return Complaint("bad-name", f"{name} cannot be {given}: use {_NAME_RULE}", located.position)
    if kind == "string_too_short":
        return Complaint("empty-name", f"{name} is empty; give it a name", located.position)
    if kind == "value_error":
        return Complaint("bad-value", _validator_message(error, located), located.position)
    return _wrong_type(located)


def _missing_type(located: LocatedValue) -> Complaint:
    """The complaint about a step without a key that determines its type."""
    step = unwrapped(located.node)
    if step.entries is None:
        return Complaint("bad-step", f"{key_text(located)} must be {type_text(located.expected)}", step.position)
    known = list(KIND_BY_KEY)
    for key in step.entries:
        close = get_close_matches(str(key), known, n=1)
        if close:
            message = f"{key!r} is not a key of a step; did you mean {close[0]!r}?"
            return Complaint("unknown-key", message, step.key_position(key), _renaming(step, key, close[0]))
    message = f"the kind of this step is unknown; it needs one of {', '.join(known)}"
    return Complaint("bad-step", message, step.position)


def _unknown_key(located: LocatedValue) -> Complaint:
    model, key = located.owner, located.key
    if model is None:
        return Complaint("unknown-key", f"{key!r} is not a key here", located.position)
    known, owner = keys_of(model), owner_text(model)
    if key == "minimum_threshold":
        message = "'minimum_threshold' cannot be combined with other keys; write `success_when: {min: n}` instead"
        return Complaint("unknown-key", message, located.position)
    if key in known:
        found = field_named(model, key)
        same = [name for name in names_of(*found) if name != key and _has_name(located.node, name)] if found else []
        other = f"{same[0]!r} means" if same else "another key means"
        return Complaint("twice", f"{other} the same as {key!r} here; keep one of them", located.position)
    close = get_close_matches(key, [name for name in known if not _has_name(located.node, name)], n=1)
    if close:
        message = f"{key!r} is not a key of {owner}; did you mean {close[0]!r}?"
        return Complaint("unknown-key", message, located.position, _renaming(located.node, key, close[0]))
    others = [other for other in STEP_KINDS.values() if key in keys_of(other)] if issubclass(model, StepFields) else []
    hint = f"; it belongs to {' or '.join(map(owner_text, others))}" if others else suggest(key, known, most=20)
    return Complaint("unknown-key", f"{key!r} is not a key of {owner}{hint}", located.position)


def _has_name(node: YamlNode, name: str) -> bool:
    return lookup(node, (name,)) is not None or any(name in (scope.entries or {}) for scope in scopes(node))


def _bad_key(error: Mapping[str, Any], located: LocatedValue) -> Complaint | None:
    key = error["input"]
    if located.node.entries is None:
        return None  # a list that stands for a mapping; its item is reported
    message = f"the key {key!r} must be a text; put it into quotes"
    return Complaint("bad-key", message, located.node.key_position(key))


def _renaming(scope: YamlNode, old: str, new: str) -> Callable[[], None]:
    def rename() -> None:
        entries = scope.entries
        if entries is None or old not in entries or new in entries:
            return
        position = scope.key_position(old)
        scope.entries = {new if key == old else key: value for key, value in entries.items()}
        scope.key_positions[new] = position

    return rename


def _unknown_type(located: LocatedValue) -> Complaint:
    step = unwrapped(located.node)
    written = (step.entries or {}).get("type", step)
    kind = written.scalar
    close = get_close_matches(kind, list(STEP_KINDS), n=1) if isinstance(kind, str) else []

    def correct() -> None:
        written.scalar = close[0]

    message = f"no step has the type {written.description()}{suggest(str(kind), list(STEP_KINDS))}"
    return Complaint("unknown-type", message, written.position, correct if close else None)


def _missing_key(error: Mapping[str, Any], located: LocatedValue) -> Complaint | None:
    model, name = located.owner, str(error["loc"][-1])
    found = field_named(model, name) if model is not None else None
    if model is None or found is None:
        return Complaint("missing-key", f"{name!r} is missing", located.position)
    if model is Parallel and found[0] == "branches":
        return None  # the loader reports every parallel step without branches
    if found[0] == "steps":
        return _empty_value(located)
    description = (found[1].description or "").rstrip(".")
    about = f": {description[:1].lower()}{description[1:]}" if description else ""
    return Complaint("missing-key", f"{owner_text(model)} needs {names_of(*found)[0]!r}{about}", located.position)


def _empty_value(located: LocatedValue) -> Complaint:
    if located.key in ("switch", "cases"):
        message = "a switch needs cases: a list of mappings with 'when' and 'steps'"
        return Complaint("no-cases", message, located.position)
    if located.owner is Sequential and located.node.entries is None:
        return Complaint("no-steps", "this list has no steps", located.position)
    message = f"{owner_text(located.owner)} has no steps; list them under 'steps'"
    return Complaint("no-steps", message, located.position)


def _wrong_type(located: LocatedValue) -> Complaint | None:
    of_group = located.owner is Parallel and located.index is None and located.key in ("branches", "parallel")
    if located.node.is_null and of_group:
        return None  # the loader reports that the group has no steps
    if located.key == "collect" and located.index is None and located.owner is ForEach:
        message = "'collect' must be a mapping, a text, or a list of texts only"
        return Complaint("bad-value", message, located.position)
    expected, cure = type_text(located.expected), ""
    if expected == "a text" and isinstance(located.node.scalar, (bool, int, float)):
        cure = "; put it into quotes"
    elif expected in ("a list of texts", "a list of steps") and isinstance(located.node.scalar, str):
        cure = f"; write [{located.node.scalar}]"
    message = f"{key_text(located)} must be {expected}, not {located.node.description()}{cure}"
    return Complaint("bad-value", message, located.position)


def _validator_message(error: Mapping[str, Any], located: LocatedValue) -> str:
    """The message of one of our validators, or of a conversion that failed inside it."""
    cause = error.get("ctx", {}).get("error")
    if str(cause).startswith("could not convert"):
        return f"{key_text(located)} must be {type_text(located.expected)}, not {located.node.description()}"
    return f"{key_text(located)}: {cause}"
