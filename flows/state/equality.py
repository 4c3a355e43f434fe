"""Compares owned values, and computes fingerprints that are equal in all processes."""

import dataclasses
import enum
import hashlib
import struct
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from operator import is_
from typing import Any, cast

from pydantic import BaseModel

from flows.errors import UnsupportedValue
from flows.state.values import ATOMS, EXACT_ATOMS, ExternalSequence, is_array, is_scalar, own

_MAX_DEPTH = 200


def equal(first: Any, second: Any) -> bool:
    """Whether two owned values are the same data; types must be equal (1 is not True), and NaN equals itself."""
    if first is second:
        return True
    kind = cast("type[Any]", type(first))
    if kind is not type(second):
        return False
    if kind is float:
        return first == second or (first != first and second != second)
    if kind in EXACT_ATOMS:
        return first == second
    if kind is list or kind is tuple:
        return len(first) == len(second) and same_items(first, second)
    if kind is dict:
        return _equal_dicts(first, second)
    if isinstance(first, (bytes, int, str)) and not isinstance(first, enum.Enum):
        return first == second
    if is_array(first) or is_scalar(first):
        same_form = first.dtype.str == second.dtype.str and first.shape == second.shape
        return same_form and first.tobytes() == second.tobytes()
    if dataclasses.is_dataclass(kind) or issubclass(kind, BaseModel):
        return all(equal(getattr(first, name), getattr(second, name)) for name in _field_names(kind))
    return fingerprint(first) == fingerprint(second)


def same_items(first: Sequence[Any], second: Sequence[Any]) -> bool:
    """Whether two lists or tuples of the same length have the same items."""
    if all(map(is_, first, second)):
        return True
    kinds = list(map(type, first))
    if EXACT_ATOMS.issuperset(kinds) and float not in kinds:
        return first == second and kinds == list(map(type, second))
    return all(map(equal, first, second))


def _equal_dicts(first: dict[Any, Any], second: dict[Any, Any]) -> bool:
    if len(first) != len(second):
        return False
    if not (set(map(type, first)) == set(map(type, second)) == {str}):
        return fingerprint(first) == fingerprint(second)
    return all(key in second and equal(value, second[key]) for key, value in first.items())


@cache
def _field_names(kind: type[Any]) -> tuple[str, ...]:
    if issubclass(kind, BaseModel):
        return tuple(kind.model_fields)
    return tuple(field.name for field in dataclasses.fields(kind))


def fingerprint(value: Any) -> str:
    """SHA-256 of a value in hex, the same in every process for equal data; the order of mapping keys is ignored."""
    digest = hashlib.sha256()
    _feed_value(value, digest.update, 0)
    return digest.hexdigest()


def _feed_value(value: Any, update: Callable[[bytes], None], depth: int) -> None:
    if depth > _MAX_DEPTH:
        raise UnsupportedValue(f"a value is nested deeper than {_MAX_DEPTH} levels, or contains itself")
    kind = cast("type[Any]", type(value))
    if isinstance(value, enum.Enum):
        _feed_content(update, f"enum:{kind.__qualname__}.{value.name}", b"")
    elif value is None or isinstance(value, (bool, int)):
        _feed_content(update, kind.__name__, str(value).encode())
    elif isinstance(value, float):
        _feed_content(update, "float", struct.pack("<d", value + 0.0 if value == value else float("nan")))
    elif isinstance(value, str):
        _feed_content(update, "str", value.encode("utf-8", "surrogatepass"))
    elif isinstance(value, (bytes, bytearray)):
        _feed_content(update, kind.__name__, bytes(value))
    elif isinstance(value, (list, tuple, ExternalSequence)):
        items = cast("Sequence[Any]", value)
        _feed_content(update, "list" if kind is list else kind.__qualname__, str(len(items)).encode())
        for item in items:
            _feed_value(item, update, depth + 1)
    elif isinstance(value, Mapping):
        pairs = cast("Mapping[Any, Any]", value)
        _feed_content(update, "mapping", str(len(pairs)).encode())
        for key in _sorted_keys(pairs):
            _feed_value(key, update, depth + 1)
            _feed_value(pairs[key], update, depth + 1)
    elif isinstance(value, (set, frozenset)):
        marks = sorted(fingerprint(item) for item in cast("set[Any]", value))
        _feed_content(update, "set", "".join(marks).encode())
    elif is_array(value):
        _feed_content(update, f"array:{value.dtype.str}:{value.shape}", value.tobytes())
    elif is_scalar(value):
        _feed_content(update, f"scalar:{value.dtype.str}", value.tobytes())
    elif dataclasses.is_dataclass(kind):
        _feed_content(update, f"dataclass:{kind.__qualname__}", b"")
        for name in _field_names(kind):
            _feed_value(getattr(value, name), update, depth + 1)
    elif isinstance(value, BaseModel):
        _feed_content(update, f"model:{kind.__qualname__}", b"")
        for name in _field_names(kind):
            _feed_value(getattr(value, name), update, depth + 1)
    elif isinstance(value, ATOMS):
        _feed_content(update, kind.__qualname__, str(cast("object", value)).encode())
    else:
        own(value)  # raises the error with the reason


def _sorted_keys(pairs: Mapping[Any, Any]) -> list[Any]:
    return sorted(pairs) if all(type(key) is str for key in pairs) else sorted(pairs, key=fingerprint)


def _feed_content(update: Callable[[bytes], None], kind: str, content: bytes) -> None:
    # With kind and length in front, two different values never feed the same bytes.
    update(f"{kind}:{len(content)}:".encode())
    update(content)
