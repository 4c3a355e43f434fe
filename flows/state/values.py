"""What a context may hold, and how such values are owned, compared and fingerprinted.

A context holds data: numbers, texts, bytes, times, paths, enums, lists, tuples, mappings, sets, dataclasses, pydantic
models and numpy arrays, nested in any way. Live objects (connections, models, files) belong into services.
"""

import dataclasses
import datetime as dt
import decimal
import enum
import hashlib
import pathlib
import struct
import sys
import uuid
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any, TypeGuard, TypeVar, cast

from pydantic import BaseModel

from flows.errors import UnsupportedValue

if TYPE_CHECKING:
    import numpy as np

Item = TypeVar("Item")


class KeptElsewhere(Sequence[Item]):
    """A sequence of data that never changes and is too long for memory: contexts share it as it is."""


_ATOMS = (
    type(None),
    bool,
    int,
    float,
    complex,
    str,
    bytes,
    decimal.Decimal,
    dt.date,
    dt.time,
    dt.timedelta,
    uuid.UUID,
    pathlib.PurePath,
    enum.Enum,
    range,
    KeptElsewhere,
)
_DEEPEST = 200


def own(value: Any, *, place: str = "value") -> tuple[Any, bool]:
    """A copy of `value` that nobody else can change, and whether it is immutable through and through.

    Mutable containers are copied at every depth, immutable values are shared, arrays become read-only for good.

    Raises:
        UnsupportedValue: something inside is not data, or the value contains itself.
    """
    return _own(value, place, 0)


def _own(value: Any, place: str, depth: int) -> tuple[Any, bool]:
    kind = cast("type[Any]", type(value))
    if kind in _EXACT_ATOMS or issubclass(kind, _ATOMS):
        return value, True
    if depth > _DEEPEST:
        raise UnsupportedValue(f"{place} is nested deeper than {_DEEPEST} levels, or contains itself")
    if kind is list:
        return [_own(item, place, depth + 1)[0] for item in value], False
    if kind is dict:
        return {_key(key, place): _own(item, f"{place}[{key!r}]", depth + 1)[0] for key, item in value.items()}, False
    if isinstance(value, tuple):
        return _own_tuple(cast("tuple[Any, ...]", value), place, depth)
    if kind is frozenset:
        return value, all(_own(item, place, depth + 1)[1] for item in value)
    if kind in (set, bytearray):
        return cast("Any", kind(value)), False
    if _is_array(value):
        return _own_array(value, place), True
    if _is_scalar(value):
        return value, True
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        frozen = bool(kind.__dataclass_params__.frozen)
        # Records of numbers and texts are most of what large contexts hold.
        if frozen and all(type(getattr(value, field.name)) in _EXACT_ATOMS for field in _fields(kind)):
            return value, True
        return _own_fields(value, [field.name for field in _fields(kind)], frozen, place, depth)
    if isinstance(value, BaseModel):
        return _own_fields(value, list(kind.model_fields), bool(kind.model_config.get("frozen")), place, depth)
    if isinstance(value, Mapping):  # views, proxies and other mappings become plain ones
        return _own(dict(cast("Mapping[Any, Any]", value)), place, depth)
    raise UnsupportedValue(
        f"{place} is a {kind.__module__}.{kind.__qualname__}, which a context cannot hold; give plain data "
        "(numbers, texts, lists, mappings, dataclasses, arrays), a URI that refers to it, or make it a service"
    )


_EXACT_ATOMS = frozenset({type(None), bool, int, float, str, bytes})
_FIELDS: dict[type[Any], tuple[dataclasses.Field[Any], ...]] = {}


def _fields(kind: type[Any]) -> tuple[dataclasses.Field[Any], ...]:
    found = _FIELDS.get(kind)
    if found is None:
        found = _FIELDS[kind] = dataclasses.fields(kind)
    return found


def _key(key: Any, place: str) -> Any:
    if not _own(key, f"key of {place}", 0)[1]:
        raise UnsupportedValue(f"{place} has the mutable key {key!r}")
    return key


def _own_tuple(value: tuple[Any, ...], place: str, depth: int) -> tuple[Any, bool]:
    kinds = set(map(type, value))
    if kinds <= _EXACT_ATOMS:
        return value, True
    if kinds == {tuple} and _EXACT_ATOMS.issuperset(map(type, chain.from_iterable(value))):
        return value, True
    owned = [_own(item, place, depth + 1) for item in value]
    if all(immutable for _, immutable in owned):
        if all(mine is theirs for (mine, _), theirs in zip(owned, value, strict=True)):
            return value, True
        return _rebuilt_tuple(value, [item for item, _ in owned]), True
    return _rebuilt_tuple(value, [item for item, _ in owned]), False


def _rebuilt_tuple(value: tuple[Any, ...], items: list[Any]) -> tuple[Any, ...]:
    kind: Any = type(value)
    return kind(*items) if hasattr(value, "_fields") else kind(items)


# Whoever holds an array has imported numpy; those who hold none need not wait for it.


def _is_array(value: Any) -> "TypeGuard[np.ndarray[Any, Any]]":
    return isinstance(value, getattr(sys.modules.get("numpy"), "ndarray", ()))


def _is_scalar(value: Any) -> "TypeGuard[np.generic[Any]]":
    return isinstance(value, getattr(sys.modules.get("numpy"), "generic", ()))


def _own_array(value: "np.ndarray[Any, Any]", place: str) -> "np.ndarray[Any, Any]":
    if value.dtype.hasobject:
        raise UnsupportedValue(f"{place} is an array of objects, which a context cannot hold; give it a numeric dtype")
    if not value.flags.writeable and isinstance(_root(value), bytes):
        return value
    import numpy as np

    # Backed by immutable bytes, so that not even `flags.writeable = True` opens it again.
    return np.frombuffer(value.tobytes(), dtype=value.dtype).reshape(value.shape)


def _root(array: "np.ndarray[Any, Any]") -> Any:
    base: Any = array
    while _is_array(base):
        base = base.base
    return base


def _own_fields(value: Any, names: list[str], frozen: bool, place: str, depth: int) -> tuple[Any, bool]:
    owned = {name: _own(getattr(value, name), f"{place}.{name}", depth + 1) for name in names}
    immutable = frozen and all(is_immutable for _, is_immutable in owned.values())
    if immutable and all(owned[name][0] is getattr(value, name) for name in names):
        return value, True
    if isinstance(value, BaseModel):
        return value.model_copy(update={name: mine for name, (mine, _) in owned.items()}), immutable
    kind = cast("type[Any]", type(value))
    mine: Any = object.__new__(kind)
    for name, (item, _) in owned.items():
        object.__setattr__(mine, name, item)
    return mine, immutable


def equal(first: Any, second: Any) -> bool:
    """Whether two owned values are the same data: types count (1 is not True), and NaN equals itself."""
    if first is second:
        return True
    if type(first) is not type(second):
        return False
    if isinstance(first, (str, bytes, int)):
        return first == second
    return fingerprint(first) == fingerprint(second)


def fingerprint(value: Any) -> str:
    """SHA-256 of a value, hex: equal data, equal text, in every process; the order of mapping keys does not count."""
    digest = hashlib.sha256()
    _feed(value, digest.update, 0)
    return digest.hexdigest()


def _feed(value: Any, update: Callable[[bytes], None], depth: int) -> None:
    if depth > _DEEPEST:
        raise UnsupportedValue(f"a value is nested deeper than {_DEEPEST} levels, or contains itself")
    kind = cast("type[Any]", type(value))
    if isinstance(value, enum.Enum):
        _item(update, f"enum:{kind.__qualname__}.{value.name}", b"")
    elif value is None or isinstance(value, (bool, int)):
        _item(update, kind.__name__, str(value).encode())
    elif isinstance(value, float):
        _item(update, "float", struct.pack("<d", value + 0.0 if value == value else float("nan")))
    elif isinstance(value, str):
        _item(update, "str", value.encode("utf-8", "surrogatepass"))
    elif isinstance(value, (bytes, bytearray)):
        _item(update, kind.__name__, bytes(value))
    elif isinstance(value, (list, tuple, KeptElsewhere)):
        items = cast("Sequence[Any]", value)
        _item(update, "list" if kind is list else kind.__qualname__, str(len(items)).encode())
        for item in items:
            _feed(item, update, depth + 1)
    elif isinstance(value, Mapping):
        pairs = cast("Mapping[Any, Any]", value)
        _item(update, "mapping", str(len(pairs)).encode())
        for key in _sorted_keys(pairs):
            _feed(key, update, depth + 1)
            _feed(pairs[key], update, depth + 1)
    elif isinstance(value, (set, frozenset)):
        marks = sorted(fingerprint(item) for item in cast("set[Any]", value))
        _item(update, "set", "".join(marks).encode())
    elif _is_array(value):
        _item(update, f"array:{value.dtype.str}:{value.shape}", value.tobytes())
    elif _is_scalar(value):
        _item(update, f"scalar:{value.dtype.str}", value.tobytes())
    elif dataclasses.is_dataclass(kind):
        _item(update, f"dataclass:{kind.__qualname__}", b"")
        for field in _fields(kind):
            _feed(getattr(value, field.name), update, depth + 1)
    elif isinstance(value, BaseModel):
        _item(update, f"model:{kind.__qualname__}", b"")
        for name in kind.model_fields:
            _feed(getattr(value, name), update, depth + 1)
    elif isinstance(value, _ATOMS):
        _item(update, kind.__qualname__, str(cast("object", value)).encode())
    else:
        own(value)  # raises with the reason


def _sorted_keys(pairs: Mapping[Any, Any]) -> list[Any]:
    return sorted(pairs) if all(type(key) is str for key in pairs) else sorted(pairs, key=fingerprint)


def _item(update: Callable[[bytes], None], kind: str, content: bytes) -> None:
    # Kind and length first: no two different values can be spelt by the same bytes.
    update(f"{kind}:{len(content)}:".encode())
    update(content)


def shown(value: Any, *, most: int = 60) -> str:
    """A short text of a value for messages; never more than `most` characters."""
    if _is_array(value):
        return f"array of {value.dtype} {value.shape}"
    text = repr(value)
    return text if len(text) <= most else f"{text[: most - 1]}…"
