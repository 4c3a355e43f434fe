"""Values of a context as plain data: JSON values within limits of length, and without secrets."""

import dataclasses
import enum
import math
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple, cast

from pydantic import BaseModel

from flows.model import LEFT_OUT, hide_secrets, is_secret_name
from flows.state import ExternalSequence

_MAX_DEPTH = 50
_ARRAY_ITEMS = 1_000
"""An array with more numbers is shown as its dtype and shape."""


_is_secret = lru_cache(maxsize=10_000)(is_secret_name)  # records of one kind have the same names


class PlainValue(NamedTuple):
    """A value as plain data."""

    value: Any
    shortened: bool
    """Whether `value` was shortened: a text that ends in `…`, or a list or mapping without its last entries."""
    length: int
    """About how many characters the value has as JSON."""


def plain_value(value: Any, *, most: int) -> PlainValue:
    """`value` as plain data of about `most` characters of JSON at most."""
    plain = _Plain(most)
    return PlainValue(plain.of(value, 0), plain.shortened, plain.length)


class _Plain:
    """A conversion that stops after `most` characters."""

    def __init__(self, most: int) -> None:
        self.most, self.length, self.shortened = most, 0, False

    @property
    def room(self) -> int:
        return max(0, self.most - self.length)

    def of(self, value: Any, depth: int) -> Any:
        if isinstance(value, enum.Enum):
            return self.of(value.value, depth)
        if value is None or isinstance(value, bool):
            self.length += 5
            return value
        if isinstance(value, (int, float)):
            self.length += 12
            # JSON knows neither infinity nor NaN.
            return value if isinstance(value, int) or math.isfinite(value) else str(value)
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, (bytes, bytearray)):
            return self._text(f"<{len(value)} bytes>")
        if hasattr(value, "dtype") and hasattr(value, "tolist"):  # recognises numpy values without importing numpy
            return self._array(value, depth)
        if depth >= _MAX_DEPTH:
            return self._text("…")
        if (fields := _fields_of(value)) is not None:
            return self._mapping(fields, depth)
        if isinstance(value, (list, tuple, set, frozenset, ExternalSequence)):
            return self._list(cast("Iterable[Any]", value), depth)
        return self._text(str(value))

    def _text(self, text: str) -> str:
        text = hide_secrets(text.encode("utf-8", "replace").decode().replace("\0", "\ufffd"))
        if len(text) > self.room:
            self.shortened = True
            text = f"{text[: self.room]}…"
        self.length += len(text) + 2
        return text

    def _array(self, array: Any, depth: int) -> Any:
        if getattr(array, "size", 1) > _ARRAY_ITEMS:
            return self._text(f"<array of {array.dtype}, shape {tuple(array.shape)}>")
        return self.of(array.tolist(), depth)

    def _list(self, items: Iterable[Any], depth: int) -> list[Any]:
        kept: list[Any] = []
        for item in items:
            if not self.room:
                self.shortened = True
                break
            before = self.shortened
            plain = self.of(item, depth + 1)
            if self.shortened and not before and kept:
                break  # a list has whole items, if it has more than one
            kept.append(plain)
        return kept

    def _mapping(self, fields: Mapping[Any, Any], depth: int) -> dict[str, Any]:
        kept: dict[str, Any] = {}
        for key, item in fields.items():
            if not self.room:
                self.shortened = True
                break
            name = self._text(str(key))
            kept[name] = LEFT_OUT if _is_secret(str(key)) and item is not None else self.of(item, depth + 1)
        return kept


def _fields_of(value: Any) -> Mapping[Any, Any] | None:
    """The entries of a mapping, or the fields of a record; None if it is neither."""
    if isinstance(value, Mapping):
        return cast("Mapping[Any, Any]", value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, BaseModel):
        return {name: getattr(value, name) for name in type(value).model_fields}
    return None
