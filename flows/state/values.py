"""The values that a context may hold, and how they are owned, compared and fingerprinted.

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


class ExternalSequence(Sequence[Item]):
    """A sequence of data that lies outside of memory and never changes; contexts share it without copying it."""


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
    ExternalSequence,
)
_MAX_DEPTH = 200
_REPR_LENGTH = 60


def own(value: Any, *, where: str = "value") -> tuple[Any, bool]:
    """A copy of `value` that nobody else can change, and whether it is immutable at every depth.

    Mutable containers are copied at every depth, immutable values are shared, arrays become read-only for good. `where`
    names the value in an error.

    Raises:
        UnsupportedValue: something inside is not data, or the value contains itself.
    """
    return _own_value(value, where, 0)


def _own_value(value: Any, where: str, depth: int) -> tuple[Any, bool]:
    kind = cast("type[Any]", type(value))
    if kind in _EXACT_ATOMS or issubclass(kind, _ATOMS):
        return value, True
    if depth > _MAX_DEPTH:
        raise UnsupportedValue(f"{where} is nested deeper than {_MAX_DEPTH} levels, or contains itself")
    if kind is list:
        return [_own_value(item, where, depth + 1)[0] for item in value], False
    if kind is dict:
        return {
            _own_key(key, where): _own_value(item, f"{where}[{key!r}]", depth + 1)[0] for key, item in value.items()
        }, False
    if isinstance(value, tuple):
        return _own_tuple(cast("tuple[Any, ...]", value), where, depth)
    if kind is frozenset:
        return value, all(_own_value(item, where, depth + 1)[1] for item in value)
    if kind in (set, bytearray):
        return cast("Any", kind(value)), False
    if _is_array(value):
        return _own_array(value, where), True
    if _is_scalar(value):
        return value, True
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        frozen = bool(kind.__dataclass_params__.frozen)
        # A short way for records of numbers and texts, which large contexts mostly hold.
        if frozen and all(type(getattr(value, field.name)) in _EXACT_ATOMS for field in _fields_of(kind)):
            return value, True
        return _own_fields(value, [field.name for field in _fields_of(kind)], frozen, where, depth)
    if isinstance(value, BaseModel):
        return _own_fields(value, list(kind.model_fields), bool(kind.model_config.get("frozen")), where, depth)
    if isinstance(value, Mapping):  # views, proxies and other mappings become plain ones
        return _own_value(dict(cast("Mapping[Any, Any]", value)), where, depth)
    if kind.__module__.partition(".")[0] in _TABLES:
        raise UnsupportedValue(
            f"{where} is a table ({kind.__module__}.{kind.__qualname__}), which a context does not hold; write it to "
            "Parquet or Arrow IPC in the storage (`call.services['storage']`) and return its URI, or return plain "
            "rows: `to_dict('records')` of pandas, `to_dicts()` of Polars, `to_pylist()` of Arrow"
        )
    raise UnsupportedValue(
        f"{where} is a {kind.__module__}.{kind.__qualname__}, which a context cannot hold; give plain data "
        "(numbers, texts, lists, mappings, dataclasses, arrays), a URI that refers to it, or make it a service"
    )


_TABLES = frozenset({"pandas", "polars", "pyarrow", "duckdb", "dask", "modin"})
"""Packages of data frames."""
_EXACT_ATOMS = frozenset({type(None), bool, int, float, str, bytes})
_FIELDS: dict[type[Any], tuple[dataclasses.Field[Any], ...]] = {}


def _fields_of(kind: type[Any]) -> tuple[dataclasses.Field[Any], ...]:
    found = _FIELDS.get(kind)
    if found is None:
        found = _FIELDS[kind] = dataclasses.fields(kind)
    return found


def _own_key(key: Any, where: str) -> Any:
    if not _own_value(key, f"key of {where}", 0)[1]:
        raise UnsupportedValue(f"{where} has the mutable key {key!r}")
    return key


def _own_tuple(value: tuple[Any, ...], where: str, depth: int) -> tuple[Any, bool]:
    kinds = set(map(type, value))
    if kinds <= _EXACT_ATOMS:
        return value, True
    if kinds == {tuple} and _EXACT_ATOMS.issuperset(map(type, chain.from_iterable(value))):
        return value, True
    owned = [_own_value(item, where, depth + 1) for item in value]
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


def _own_array(value: "np.ndarray[Any, Any]", where: str) -> "np.ndarray[Any, Any]":
    if value.dtype.hasobject:
        raise UnsupportedValue(f"{where} is an array of objects, which a context cannot hold; give it a numeric dtype")
    if not value.flags.writeable and isinstance(_base_array(value), bytes):
        return value
    import numpy as np

    # Backed by immutable bytes, so that not even `flags.writeable = True` opens it again.
    return np.frombuffer(value.tobytes(), dtype=value.dtype).reshape(value.shape)


def _base_array(array: "np.ndarray[Any, Any]") -> Any:
    base: Any = array
    while _is_array(base):
        base = base.base
    return base


def _own_fields(value: Any, names: list[str], frozen: bool, where: str, depth: int) -> tuple[Any, bool]:
    owned = {name: _own_value(getattr(value, name), f"{where}.{name}", depth + 1) for name in names}
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
    """Whether two owned values are the same data; types must be equal (1 is not True), and NaN equals itself."""
    if first is second:
        return True
    if type(first) is not type(second):
        return False
    if isinstance(first, (str, bytes, int)):
        return first == second
    return fingerprint(first) == fingerprint(second)


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
    elif _is_array(value):
        _feed_content(update, f"array:{value.dtype.str}:{value.shape}", value.tobytes())
    elif _is_scalar(value):
        _feed_content(update, f"scalar:{value.dtype.str}", value.tobytes())
    elif dataclasses.is_dataclass(kind):
        _feed_content(update, f"dataclass:{kind.__qualname__}", b"")
        for field in _fields_of(kind):
            _feed_value(getattr(value, field.name), update, depth + 1)
    elif isinstance(value, BaseModel):
        _feed_content(update, f"model:{kind.__qualname__}", b"")
        for name in kind.model_fields:
            _feed_value(getattr(value, name), update, depth + 1)
    elif isinstance(value, _ATOMS):
        _feed_content(update, kind.__qualname__, str(cast("object", value)).encode())
    else:
        own(value)  # raises with the reason


def _sorted_keys(pairs: Mapping[Any, Any]) -> list[Any]:
    return sorted(pairs) if all(type(key) is str for key in pairs) else sorted(pairs, key=fingerprint)


def _feed_content(update: Callable[[bytes], None], kind: str, content: bytes) -> None:
    # With kind and length in front, two different values never feed the same bytes.
    update(f"{kind}:{len(content)}:".encode())
    update(content)


def short_repr(value: Any) -> str:
    """A short text for a value in a message."""
    if _is_array(value):
        return f"array of {value.dtype} {value.shape}"
    text = repr(value)
    return text if len(text) <= _REPR_LENGTH else f"{text[: _REPR_LENGTH - 1]}…"
