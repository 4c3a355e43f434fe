"""What pydantic finds wrong with a pipeline, in the words of its author: the key, what it must be, and the cure."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, ValidationError

from flows.errors import Problem, suggest
from flows.loaders.places import (
    STEP_KINDS,
    Spot,
    bare,
    field_named,
    follow,
    is_step,
    is_union,
    lookup,
    names_of,
    scopes,
    unwrapped,
)
from flows.loaders.positions import Node
from flows.model import (
    KIND_BY_KEY,
    PRESETS,
    Case,
    ForEach,
    Handler,
    Merge,
    MinRatio,
    MinSuccess,
    Parallel,
    Parameter,
    Pipeline,
    Policy,
    Sequential,
    StepFields,
    Tolerance,
)
from flows.state import shown

_WORDS: dict[Any, str] = {
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
_BOUNDS = {
    "greater_than": ("gt", "more than"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "less than"),
    "less_than_equal": ("le", "at most"),
}
_NAME_RULE = "letters, digits, '_', '-' and '.', beginning with a letter or '_'"


@dataclass(frozen=True)
class Complaint:
    """A problem, and how to read on as if the author had written what was meant."""

    problem: Problem
    repair: Callable[[], None] | None = None


def complaints(invalid: ValidationError, root: Node, *, source: str) -> list[Complaint]:
    """Each mistake once, at its place in the document, in no particular order."""
    errors: list[dict[str, Any]] = [dict(error) for error in invalid.errors(include_url=False)]
    found: list[Complaint] = []
    for error, spot in _one_reading_of_each_choice([(error, _spot(error, root)) for error in errors]):
        told = _told(error, spot)
        if told is None:
            continue
        code, message, place, repair = told
        found.append(Complaint(Problem(source, *place, code, message), repair))
    return found


def _spot(error: Mapping[str, Any], root: Node) -> Spot:
    """Where an error is; that a key is unknown is said of the mapping it stands in."""
    location: tuple[int | str, ...] = error["loc"]
    if location[-1:] == ("[key]",):
        return follow(root, location[:-2])
    if error["type"] != "extra_forbidden":
        return follow(root, location)
    around, key = follow(root, location[:-1]), str(location[-1])
    scope = next((scope for scope in scopes(around.node) if key in (scope.entries or {})), around.node)
    union = (around.union, around.union_expected)
    model = bare(around.expected)
    return Spot(scope, scope.key_place(key), model, key, None, model if _is_model(model) else None, *union)


_Told = tuple[str, str, tuple[int, int], Callable[[], None] | None]


def _told(error: Mapping[str, Any], spot: Spot) -> _Told | None:
    """Code, message, place and repair of an error; None for the mere consequence of another one."""
    kind: str = error["type"]
    if kind == "too_short" and error["input"]:
        return None  # items failed, and what is left of the list is too short
    if error.get("loc", ())[-1:] == ("[key]",):
        return _bad_key(error, spot)
    if kind in ("extra_forbidden", "union_tag_not_found"):
        return _unknown_key(error, spot)
    if kind == "union_tag_invalid":
        return _unknown_kind(spot)
    if kind == "missing":
        return _missing(error, spot)
    if kind == "too_short":
        return _empty(spot)
    if kind in _BOUNDS:
        name, words = _BOUNDS[kind]
        bound = f"{error['ctx'][name]:g}"
        return "bad-value", f"{_named(spot)} must be {words} {bound}, not {_given(spot.node)}", spot.place, None
    if kind == "string_pattern_mismatch":
        return "bad-name", f"{_named(spot)} cannot be {_given(spot.node)}: use {_NAME_RULE}", spot.place, None
    if kind == "string_too_short":
        return "empty-name", f"{_named(spot)} is empty; give it a name", spot.place, None
    if kind == "value_error":
        return "bad-value", _reason(error, spot), spot.place, None
    return _wrong_type(spot)


def _one_reading_of_each_choice(
    found: list[tuple[dict[str, Any], Spot]],
) -> list[tuple[dict[str, Any], Spot]]:
    """Where several types were tried for one value, keep the errors of the type that its author most likely meant."""
    kept = [pair for pair in found if pair[1].union is None]
    choices: dict[int, list[tuple[dict[str, Any], Spot]]] = {}
    for error, spot in found:
        if spot.union is not None:
            choices.setdefault(id(spot.union), []).append((error, spot))
    for tried in choices.values():
        _, spot = tried[0]
        value = spot.union or spot.node
        models = [member for member in get_args(spot.union_expected) if _is_model(member)]
        if value.entries is None or not models:
            whole = Spot(value, value.place, spot.union_expected, spot.key, spot.index, spot.owner)
            kept.append(({"type": "wrong_type"}, whole))
            continue
        meant = max(models, key=lambda model: _likeness(value, model))
        kept.extend((error, spot) for error, spot in tried if meant.__name__ in error["loc"])
    return kept


def _likeness(value: Node, model: type[BaseModel]) -> float:
    known = _keys_of(model)
    keys = [str(key) for key in value.entries or {}]
    return sum(1.0 if key in known else 0.5 if get_close_matches(key, known, n=1) else 0.0 for key in keys)


def _unknown_key(error: Mapping[str, Any], spot: Spot) -> _Told:
    step = unwrapped(spot.node)
    if error["type"] == "union_tag_not_found":
        if step.entries is None:
            return "bad-step", f"{_named(spot)} must be {_described(spot.expected)}", step.place, None
        known = list(KIND_BY_KEY)
        for key in step.entries:
            close = get_close_matches(str(key), known, n=1)
            if close:
                message = f"{key!r} is no key of a step; did you mean {close[0]!r}?"
                return "unknown-key", message, step.key_place(key), _renaming(step, key, close[0])
        return "bad-step", f"cannot tell what this step does; it needs one of {', '.join(known)}", step.place, None
    model, key = spot.owner, spot.key
    if model is None:
        return "unknown-key", f"{key!r} is no key here", spot.place, None
    return _misplaced(model, key, spot)


def _misplaced(model: type[BaseModel], key: str, spot: Spot) -> _Told:
    known = _keys_of(model)
    what = _owner(model)
    if key == "minimum_threshold":
        message = "'minimum_threshold' stands alone; beside other keys write `success_when: {min: n}`"
        return "unknown-key", message, spot.place, None
    if key in known:
        found = field_named(model, key)
        same = [name for name in names_of(*found) if name != key and _has(spot.node, name)] if found else []
        other = f"{same[0]!r} says" if same else "another key says"
        return "twice", f"{other} the same as {key!r} here; keep one of them", spot.place, None
    close = get_close_matches(key, [name for name in known if not _has(spot.node, name)], n=1)
    if close:
        message = f"{key!r} is no key of {what}; did you mean {close[0]!r}?"
        return "unknown-key", message, spot.place, _renaming(spot.node, key, close[0])
    owners = [_owner(other) for other in STEP_KINDS.values() if key in _keys_of(other)] if _is_step(model) else []
    if owners:
        message = f"{key!r} is no key of {what}; it belongs to {' or '.join(owners)}"
    else:
        message = f"{key!r} is no key of {what}{suggest(key, known, most=20)}"
    return "unknown-key", message, spot.place, None


def _bad_key(error: Mapping[str, Any], spot: Spot) -> _Told | None:
    key = error["input"]
    if spot.node.entries is None:
        return None  # a list that stands for a mapping; its item is reported
    return "bad-key", f"the key {key!r} must be a text; put it into quotes", spot.node.key_place(key), None


def _renaming(scope: Node, old: str, new: str) -> Callable[[], None]:
    def rename() -> None:
        entries = scope.entries
        if entries is None or old not in entries or new in entries:
            return
        place = scope.key_place(old)
        scope.entries = {new if key == old else key: value for key, value in entries.items()}
        scope.key_places[new] = place

    return rename


def _unknown_kind(spot: Spot) -> _Told:
    step = unwrapped(spot.node)
    written = (step.entries or {}).get("type", step)
    kind = written.scalar
    close = get_close_matches(kind, list(STEP_KINDS), n=1) if isinstance(kind, str) else []

    def mend() -> None:
        written.scalar = close[0]

    hint = suggest(str(kind), list(STEP_KINDS))
    return "unknown-type", f"no step has the type {_given(written)}{hint}", written.place, mend if close else None


def _missing(error: Mapping[str, Any], spot: Spot) -> _Told | None:
    model, name = spot.owner, str(error["loc"][-1])
    found = field_named(model, name) if model is not None else None
    if model is None or found is None:
        return "missing-key", f"{name!r} is missing", spot.place, None
    if model is Parallel and found[0] == "branches":
        return None  # reported for every parallel step without branches, by the loader
    if found[0] == "steps":
        return _empty(spot)
    description = (found[1].description or "").rstrip(".")
    about = f": {description[:1].lower()}{description[1:]}" if description else ""
    return "missing-key", f"{_owner(model)} needs {names_of(*found)[0]!r}{about}", spot.place, None


def _empty(spot: Spot) -> _Told:
    if spot.key in ("switch", "cases"):
        return "no-cases", "a switch needs cases: a list of mappings with 'when' and 'steps'", spot.place, None
    if spot.owner is Sequential and spot.node.entries is None:
        return "no-steps", "this list has no steps", spot.place, None
    what = _owner(spot.owner)
    return "no-steps", f"{what} has no steps; list them under 'steps'", spot.place, None


def _wrong_type(spot: Spot) -> _Told | None:
    nothing = spot.node.entries is None and spot.node.items is None and spot.node.scalar is None
    if nothing and spot.owner is Parallel and spot.key in ("branches", "parallel"):
        return None  # the loader says that the group has no steps
    described = _described(spot.expected)
    if spot.key == "collect" and spot.index is None and spot.owner is ForEach:
        return "bad-value", "'collect' must be a mapping, a text, or a list of nothing but texts", spot.place, None
    cure = ""
    if described == "a text" and isinstance(spot.node.scalar, (bool, int, float)):
        cure = "; put it into quotes"
    elif described in ("a list of texts", "a list of steps") and isinstance(spot.node.scalar, str):
        cure = f"; write [{spot.node.scalar}]"
    return "bad-value", f"{_named(spot)} must be {described}, not {_given(spot.node)}{cure}", spot.place, None


def _reason(error: Mapping[str, Any], spot: Spot) -> str:
    """The message of a validator of ours, or of what failed inside it."""
    cause = error.get("ctx", {}).get("error")
    if str(cause).startswith("could not convert"):
        return f"{_named(spot)} must be {_described(spot.expected)}, not {_given(spot.node)}"
    return f"{_named(spot)}: {cause}"


def _named(spot: Spot) -> str:
    if is_step(spot.expected):
        return "a step" if spot.index is not None else repr(spot.key)
    if spot.index is not None and spot.key:
        return f"item {spot.index + 1} of {spot.key!r}"
    return repr(spot.key) if spot.key else "this"


def _given(node: Node) -> str:
    if node.entries is not None:
        return "a mapping"
    if node.items is not None:
        return "a list"
    if node.scalar is None:
        return "nothing"
    return str(node.scalar).lower() if isinstance(node.scalar, bool) else shown(node.scalar)


def _described(annotation: Any) -> str:
    if is_step(annotation):
        return "the name of a handler, a list of steps, or a mapping"
    annotation = bare(annotation)
    if annotation in _WORDS:
        return _WORDS[annotation]
    if get_origin(annotation) is Literal:
        return _either([repr(choice) for choice in get_args(annotation)])
    if is_union(annotation):
        return _either([_described(member) for member in get_args(annotation)])
    if get_origin(annotation) is dict:
        return "a mapping"
    if get_origin(annotation) in (tuple, list):
        inner = get_args(annotation)[0]
        kinds = {str: "a list of texts", Case: "a list of cases, each with 'when' and 'steps'"}
        return "a list of steps" if is_step(inner) else kinds.get(inner, "a list")
    if _is_model(annotation):
        required = [name for name, field in annotation.model_fields.items() if field.is_required()]
        return f"a mapping with {', '.join(required or _keys_of(annotation))}"
    return "something else"


def _either(choices: Sequence[str]) -> str:
    return " or ".join([", ".join(choices[:-1]), choices[-1]]) if len(choices) > 1 else choices[0]


def _keys_of(model: type[BaseModel]) -> list[str]:
    """The keys that may stand in a mapping of a model, aliases included."""
    names = [key for name, field in model.model_fields.items() for key in names_of(name, field)]
    telling = [key for key, kind in KIND_BY_KEY.items() if STEP_KINDS[kind] is model]
    telling += ["minimum_threshold"] if model is Policy else []
    return [key for key in dict.fromkeys([*names, *telling]) if not key.endswith("_")]


def _owner(model: type[BaseModel] | None) -> str:
    if model is None:
        return "this"
    if _is_step(model):
        return f"a {model.model_fields['type'].default} step" if model is not Handler else "a handler step"
    return _OWNERS.get(model, f"a {model.__name__.lower()}")


def _has(node: Node, name: str) -> bool:
    return lookup(node, (name,)) is not None or any(name in (scope.entries or {}) for scope in scopes(node))


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _is_step(model: type[BaseModel]) -> bool:
    return issubclass(model, StepFields)
