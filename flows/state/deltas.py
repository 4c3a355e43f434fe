"""The changes of a branch: the difference between its fields at the fork and at its end, as plain values."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, cast

from flows.state.equality import equal, same_items
from flows.state.values import DEEP, IMMUTABLE, SHALLOW, Mutability, Owned, own, short_repr

Field: TypeAlias = tuple[str, Any]
"""A field of a context: its section (`data`, `documents`, …) and its key."""
Path: TypeAlias = tuple[Any, ...]
"""The path of a change: section, key, and then the keys of nested mappings."""


class _Missing:
    """The absence of a value; a singleton, even after unpickling."""

    def __reduce__(self) -> str:
        return "MISSING"

    def __repr__(self) -> str:
        return "nothing"


MISSING: Any = _Missing()


@dataclass(frozen=True)
class Change:
    """One write, deletion or append at one path; `before` is the earlier value of a written number, for sums."""

    kind: Literal["set", "delete", "append"]
    path: Path
    value: Any = None
    before: Any = MISSING
    owned: Mutability | None = dataclasses.field(default=None, compare=False, repr=False)
    """How much of an owned value could be changed; None if the value is not owned."""

    def __reduce__(self) -> tuple[Any, ...]:
        # Without `owned`: unpickling makes new values, and arrays among them are writable.
        return Change, (self.kind, self.path, self.value, self.before)

    @property
    def field(self) -> str:
        """The path for display: `stats.pages`, or `documents.report.pdf` outside the section `data`."""
        parts = self.path[1:] if self.path[0] == "data" else self.path
        return ".".join(str(part) for part in parts)

    def __str__(self) -> str:
        return {"set": short_repr(self.value), "delete": "nothing", "append": f"+ {short_repr(self.value)}"}[self.kind]


Delta: TypeAlias = tuple[Change, ...]
"""All changes of one branch, in a fixed order; picklable."""


def diff(before: Any, after: Any, path: Path, mutability: Mutability = DEEP) -> Iterator[Change]:
    """Yield the changes that lead from one owned value to another: mappings by key, lists by their new tail.

    `mutability` is that of `after`.
    """
    if before is after:
        return
    if after is MISSING:
        yield Change("delete", path)
    elif type(before) is dict and type(after) is dict:
        yield from _diff_mappings(cast("dict[Any, Any]", before), cast("dict[Any, Any]", after), path, mutability)
    elif type(before) is list and type(after) is list and _starts_with(after, before):  # pyright: ignore[reportUnknownArgumentType]
        tail = cast("list[Any]", after)[len(cast("list[Any]", before)) :]
        if tail:
            yield Change("append", path, tail, owned=mutability)
    elif not equal(before, after):
        number = isinstance(before, (int, float)) and not isinstance(before, bool)
        yield Change("set", path, after, before if number else MISSING, mutability)


def _diff_mappings(
    before: dict[Any, Any], after: dict[Any, Any], path: Path, mutability: Mutability
) -> Iterator[Change]:
    for key in before:
        if key not in after:
            yield Change("delete", (*path, key))
    inside = DEEP if mutability == DEEP else IMMUTABLE
    for key, value in after.items():
        known = before.get(key, MISSING)
        if known is not value:
            yield from diff(known, value, (*path, key), inside)


def _starts_with(items: list[Any], head: list[Any]) -> bool:
    return len(items) >= len(head) and same_items(items[: len(head)] if len(items) > len(head) else items, head)


class Rewriting:
    """Applies changes of one field in order; owned values stay unchanged, and a changed value is copied once."""

    def __init__(self, owned: Owned) -> None:
        self._value, self._mutability = owned
        self._copies: dict[int, dict[Any, Any]] = {}
        """The mappings that were made here, by their id; they may be changed."""

    def apply(self, change: Change) -> None:
        below = change.path[2:]
        if not below:
            self._value, self._mutability = self._changed(self._value, self._mutability, change)
            return
        is_mapping = isinstance(self._value, dict)
        self._value = container = self._copy_of(self._value)
        flat = self._mutability == SHALLOW or not is_mapping
        for key in below[:-1]:
            inner = self._copy_of(container.get(key))
            container[key] = inner
            container = inner
        value, mutability = self._changed(container.get(below[-1], MISSING), DEEP, change)
        if value is MISSING:
            container.pop(below[-1], None)
        else:
            container[below[-1]] = value
        still_flat = flat and len(below) == 1 and mutability == IMMUTABLE
        self._mutability = SHALLOW if still_flat else DEEP

    def result(self) -> Owned:
        return Owned(self._value, self._mutability)

    def _copy_of(self, value: Any) -> dict[Any, Any]:
        if id(value) in self._copies:
            return value
        mine = dict(cast("dict[Any, Any]", value)) if isinstance(value, dict) else {}
        self._copies[id(mine)] = mine
        return mine

    def _changed(self, value: Any, mutability: Mutability, change: Change) -> Owned:
        """The value of one path after the change."""
        if change.kind == "delete":
            return Owned(MISSING, IMMUTABLE)
        fresh = own(change.value) if change.owned is None else Owned(change.value, change.owned)
        if change.kind == "set" or value is MISSING:
            return fresh
        inside = DEEP if DEEP in (mutability, fresh.mutability) else SHALLOW
        if isinstance(value, (list, tuple)):
            return Owned([*cast("Sequence[Any]", value), *fresh.value], inside)
        return Owned([value, *fresh.value], DEEP if mutability else inside)


def overlaps(first: Change, second: Change) -> bool:
    """Whether two changes concern the same value: their paths are equal, or one is inside the other."""
    shorter = min(len(first.path), len(second.path))
    return first.path[:shorter] == second.path[:shorter]


def compatible(first: Change, second: Change) -> bool:
    """Whether two changes of the same value agree: both append, or both leave the same value."""
    if first.path != second.path:
        return False
    if first.kind == second.kind == "append":
        return True
    return first.kind == second.kind and equal(first.value, second.value)


Reducer: TypeAlias = Callable[[Any, Sequence[tuple[str, Change]]], Any]
"""Combines a field's value at the fork (or `MISSING`) with its changes: pairs (branch, change) in declared order."""
