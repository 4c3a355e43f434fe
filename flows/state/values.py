"""The values that a context may hold, and how a context takes ownership of them.

A context holds data: numbers, texts, bytes, times, paths, enums, lists, tuples, mappings, sets, dataclasses, pydantic
models and numpy arrays, nested in any way. Live objects (connections, models, files) belong in services.

No handler has a reference to an owned value, so it never changes, and contexts, deltas and journals can share it. A
handler receives a copy if the value is mutable.
"""

import dataclasses
import datetime as dt
import decimal
import enum
import pathlib
import sys
import uuid
from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, TypeGuard, TypeVar, cast

from pydantic import BaseModel

from flows.errors import UnsupportedValue

if TYPE_CHECKING:
    import numpy as np

Item = TypeVar("Item")


class ExternalSequence(Sequence[Item]):
    """A sequence of data that lies outside of memory and never changes; contexts share it without copying it."""


Mutability: TypeAlias = int
"""How much of a value is mutable: nothing, the container alone, or its contents as well."""
IMMUTABLE: Mutability = 0
SHALLOW: Mutability = 1
DEEP: Mutability = 2


class Owned(NamedTuple):
    """A value that no handler has a reference to, and how much of it could be changed."""

    value: Any
    mutability: Mutability

    def copy(self) -> Any:
        """The value for a handler, which may change it."""
        if self.mutability == IMMUTABLE:
            return self.value
        return self.value.copy() if self.mutability == SHALLOW else own(self.value).value


def own(value: Any, *, where: str = "value") -> Owned:
    """A copy of `value` that no other code can change.

    Mutable containers are copied at every depth, immutable values are shared, arrays become read-only for good. `where`
    names the value in an error.

    Raises:
        UnsupportedValue: something inside is not data, or the value contains itself.
    """
    try:
        return _own_value(value, 0)
    except _NotData as refused:
        raise UnsupportedValue(f"{refused.prefix}{where}{refused.path} {refused.text}") from None


def hand_out(value: Any) -> Any:
    """A value that the caller may change: a copy if it is data."""
    try:
        return own(value).value
    except UnsupportedValue:
        return value


class _NotData(Exception):
    """A context cannot hold something inside a value; the path to it grows while the error propagates."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.prefix, self.path, self.text = "", "", text

    def at(self, part: str) -> "_NotData":
        self.path = part + self.path
        return self


_Owner: TypeAlias = Callable[[Any, int], Owned]
EXACT_ATOMS = frozenset({type(None), bool, int, float, str, bytes})
"""Types whose values are immutable; values of subclasses may be mutable."""
ATOMS = (
    *EXACT_ATOMS,
    complex,
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
_TABLES = frozenset({"pandas", "polars", "pyarrow", "duckdb", "dask", "modin"})
"""Packages of data frames."""
_MAX_DEPTH = 200
_REPR_LENGTH = 60
_OWNERS: dict[type[Any], _Owner] = {}
"""How values of a type are owned, by type; filled as types are met."""


def _own_value(value: Any, depth: int) -> Owned:
    kind = cast("type[Any]", type(value))
    if depth > _MAX_DEPTH:
        raise _NotData(f"is nested deeper than {_MAX_DEPTH} levels, or contains itself")
    owner = _OWNERS.get(kind)
    if owner is None:
        owner = _OWNERS[kind] = _owner_of(kind)
    return owner(value, depth)


def _owner_of(kind: type[Any]) -> _Owner:
    if issubclass(kind, ATOMS):
        return _share
    if kind is list:
        return _own_list
    if kind is dict:
        return _own_dict
    if issubclass(kind, tuple):
        return _own_tuple
    if kind is frozenset:
        return _own_frozenset
    if kind in (set, bytearray):
        return _own_flat
    if _is_kind(kind, "ndarray"):
        return _own_array
    if _is_kind(kind, "generic"):
        return _share
    if dataclasses.is_dataclass(kind):
        return _dataclass_owner(kind)
    if issubclass(kind, BaseModel):
        return _model_owner(kind)
    if issubclass(kind, Mapping):  # views, proxies and other mappings become plain ones
        return _own_mapping
    return _table_refusal if kind.__module__.partition(".")[0] in _TABLES else _refusal


def _share(value: Any, depth: int) -> Owned:
    return Owned(value, IMMUTABLE)


def _own_flat(value: Any, depth: int) -> Owned:
    return Owned(value.copy(), SHALLOW)


def _own_list(value: list[Any], depth: int) -> Owned:
    mine = value.copy()
    if EXACT_ATOMS.issuperset(map(type, mine)):
        return Owned(mine, SHALLOW)
    return Owned(mine, _own_items(mine, depth))


def _own_items(mine: list[Any], depth: int) -> Mutability:
    """Take ownership of the items of a list in place; return how much of the list is mutable."""
    mutability = SHALLOW
    for position, item in enumerate(mine):
        if type(item) not in EXACT_ATOMS:
            owned = _own_value(item, depth + 1)
            mine[position] = owned.value
            if owned.mutability:
                mutability = DEEP
    return mutability


def _own_dict(value: dict[Any, Any], depth: int) -> Owned:
    mine, mutability = value.copy(), SHALLOW
    if not EXACT_ATOMS.issuperset(map(type, mine)):
        for key in mine:
            _check_key(key)
    if EXACT_ATOMS.issuperset(map(type, mine.values())):
        return Owned(mine, SHALLOW)
    for key, item in mine.items():
        if type(item) in EXACT_ATOMS:
            continue
        try:
            owned = _own_value(item, depth + 1)
        except _NotData as refused:
            raise refused.at(f"[{key!r}]") from None
        mine[key] = owned.value
        if owned.mutability:
            mutability = DEEP
    return Owned(mine, mutability)


def _own_mapping(value: Mapping[Any, Any], depth: int) -> Owned:
    return _own_dict(dict(value), depth)


def _check_key(key: Any) -> None:
    try:
        mutability = _own_value(key, 0).mutability
    except _NotData as refused:
        refused.prefix = "key of "
        raise
    if mutability:
        raise _NotData(f"has the mutable key {key!r}")


def _own_tuple(value: tuple[Any, ...], depth: int) -> Owned:
    if EXACT_ATOMS.issuperset(map(type, value)):
        return Owned(value, IMMUTABLE)
    owned = [_own_value(item, depth + 1) for item in value]
    mutability: Mutability = DEEP if any(each.mutability for each in owned) else IMMUTABLE
    if mutability == IMMUTABLE and all(mine.value is theirs for mine, theirs in zip(owned, value, strict=True)):
        return Owned(value, IMMUTABLE)
    return Owned(_rebuilt_tuple(value, [each.value for each in owned]), mutability)


def _rebuilt_tuple(value: tuple[Any, ...], items: list[Any]) -> tuple[Any, ...]:
    kind: Any = type(value)
    return kind(*items) if hasattr(value, "_fields") else kind(items)


def _own_frozenset(value: frozenset[Any], depth: int) -> Owned:
    return Owned(value, DEEP if any(_own_value(item, depth + 1).mutability for item in value) else IMMUTABLE)


def _own_array(value: "np.ndarray[Any, Any]", depth: int) -> Owned:
    if value.dtype.hasobject:
        raise _NotData("is an array of objects, which a context cannot hold; give it a numeric dtype")
    if not value.flags.writeable and isinstance(_base_array(value), bytes):
        return Owned(value, IMMUTABLE)
    import numpy as np

    # Backed by immutable bytes, so that not even `flags.writeable = True` opens it again.
    return Owned(np.frombuffer(value.tobytes(), dtype=value.dtype).reshape(value.shape), IMMUTABLE)


def _base_array(array: "np.ndarray[Any, Any]") -> Any:
    base: Any = array
    while is_array(base):
        base = base.base
    return base


def _dataclass_owner(kind: type[Any]) -> _Owner:
    names = [field.name for field in dataclasses.fields(kind)]
    frozen = bool(cast("Any", kind).__dataclass_params__.frozen)
    rebuilt = _fields_owner(names, frozen, _rebuilt_dataclass)
    if not frozen or not names:
        return rebuilt
    values_of: Callable[[Any], tuple[Any, ...]] = attrgetter(*names, names[0])  # twice, since one name gives no tuple

    def owner(value: Any, depth: int) -> Owned:
        # A short way for records of numbers and texts, which large contexts mostly hold.
        if EXACT_ATOMS.issuperset(map(type, values_of(value))):
            return Owned(value, IMMUTABLE)
        return rebuilt(value, depth)

    return owner


def _rebuilt_dataclass(value: Any, fields: Mapping[str, Any]) -> Any:
    mine: Any = object.__new__(cast("type[Any]", type(value)))
    for name, item in fields.items():
        object.__setattr__(mine, name, item)
    return mine


def _model_owner(kind: type[BaseModel]) -> _Owner:
    frozen = bool(kind.model_config.get("frozen"))
    return _fields_owner(list(kind.model_fields), frozen, lambda value, fields: value.model_copy(update=dict(fields)))


def _fields_owner(names: list[str], frozen: bool, rebuilt: Callable[[Any, Mapping[str, Any]], Any]) -> _Owner:
    def owner(value: Any, depth: int) -> Owned:
        mine: dict[str, Any] = {}
        immutable, same = frozen, True
        for name in names:
            item = getattr(value, name)
            try:
                owned = _own_value(item, depth + 1)
            except _NotData as refused:
                raise refused.at(f".{name}") from None
            mine[name] = owned.value
            immutable = immutable and not owned.mutability
            same = same and owned.value is item
        if immutable and same:
            return Owned(value, IMMUTABLE)
        return Owned(rebuilt(value, mine), IMMUTABLE if immutable else DEEP)

    return owner


def _table_refusal(value: Any, depth: int) -> Owned:
    raise _NotData(
        f"is a table ({_type_name(value)}), which a context does not hold; write it to "
        "Parquet or Arrow IPC in the storage (`call.services['storage']`) and return its URI, or return plain "
        "rows: `to_dict('records')` of pandas, `to_dicts()` of Polars, `to_pylist()` of Arrow"
    )


def _refusal(value: Any, depth: int) -> Owned:
    raise _NotData(
        f"is a {_type_name(value)}, which a context cannot hold; give plain data "
        "(numbers, texts, lists, mappings, dataclasses, arrays), a URI that refers to it, or make it a service"
    )


def _type_name(value: object) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}"


# If a value is an array, numpy has been imported already; otherwise we avoid importing it.


def is_array(value: Any) -> "TypeGuard[np.ndarray[Any, Any]]":
    return _is_kind(cast("type[Any]", type(value)), "ndarray")


def is_scalar(value: Any) -> "TypeGuard[np.generic[Any]]":
    return _is_kind(cast("type[Any]", type(value)), "generic")


def _is_kind(kind: type[Any], name: str) -> bool:
    return issubclass(kind, getattr(sys.modules.get("numpy"), name, ()))


def short_repr(value: Any) -> str:
    """A short text for a value in a message."""
    if is_array(value):
        return f"array of {value.dtype} {value.shape}"
    text = repr(value)
    return text if len(text) <= _REPR_LENGTH else f"{text[: _REPR_LENGTH - 1]}…"
