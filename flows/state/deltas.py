"""The changes of a branch: the difference between its fields at the fork and at its end, as plain values."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, cast

from flows.state.values import equal, own, short_repr

Field: TypeAlias = tuple[str, Any]
"""A field of a context: its section (`data`, `documents`, …) and its key."""
Path: TypeAlias = tuple[Any, ...]
"""The path of a change: section, key, and then the keys of nested mappings."""


class _Missing:
    """The absence of a value; one object, also after pickling."""

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
    immutable: bool = dataclasses.field(default=False, compare=False, repr=False)
    """Whether the value is known to be owned and immutable, so that it need not be checked again."""

    def __reduce__(self) -> tuple[Any, ...]:
        # Without `immutable`: unpickling makes new values, and arrays among them are writable.
        return Change, (self.kind, self.path, self.value, self.before)

    @property
    def field(self) -> str:
        """The path as people write it: `stats.pages`, or `documents.report.pdf` outside the section `data`."""
        parts = self.path[1:] if self.path[0] == "data" else self.path
        return ".".join(str(part) for part in parts)

    def __str__(self) -> str:
        return {"set": short_repr(self.value), "delete": "nothing", "append": f"+ {short_repr(self.value)}"}[self.kind]


Delta: TypeAlias = tuple[Change, ...]
"""All changes of one branch, in a fixed order; picklable."""


def diff(before: Any, after: Any, path: Path) -> Iterator[Change]:
    """Yield the changes that lead from one owned value to another: mappings by key, lists by their new tail."""
    if before is after:
        return
    if after is MISSING:
        yield Change("delete", path)
    elif type(before) is dict and type(after) is dict:
        yield from _diff_mappings(cast("dict[Any, Any]", before), cast("dict[Any, Any]", after), path)
    elif type(before) is list and type(after) is list and _starts_with(after, before):  # pyright: ignore[reportUnknownArgumentType]
        tail = cast("list[Any]", after)[len(cast("list[Any]", before)) :]
        if tail:
            yield Change("append", path, tail)
    elif not equal(before, after):
        number = isinstance(before, (int, float)) and not isinstance(before, bool)
        yield Change("set", path, after, before if number else MISSING)


def _diff_mappings(before: dict[Any, Any], after: dict[Any, Any], path: Path) -> Iterator[Change]:
    for key in before:
        if key not in after:
            yield Change("delete", (*path, key))
    for key, value in after.items():
        yield from diff(before.get(key, MISSING), value, (*path, key))


def _starts_with(items: list[Any], head: list[Any]) -> bool:
    return len(items) >= len(head) and all(equal(mine, theirs) for mine, theirs in zip(items, head, strict=False))


def apply_change(value: Any, change: Change) -> Any:
    """A field's value after one change; the caller owns `value`, which may be modified."""
    below = change.path[2:]
    if not below:
        return _with_change(value, change)
    container = root = cast("dict[Any, Any]", value if isinstance(value, dict) else {})
    for key in below[:-1]:
        container = _descend(container, key)
    if change.kind == "delete":
        container.pop(below[-1], None)
    else:
        container[below[-1]] = _with_change(container.get(below[-1], MISSING), change)
    return root


def _descend(container: dict[Any, Any], key: Any) -> dict[Any, Any]:
    inner = container.get(key)
    if not isinstance(inner, dict):
        inner = container[key] = dict[Any, Any]()
    return cast("dict[Any, Any]", inner)


def _with_change(value: Any, change: Change) -> Any:
    if change.kind == "delete":
        return MISSING
    fresh = change.value if change.immutable else own(change.value)[0]
    if change.kind == "set":
        return fresh
    if isinstance(value, (list, tuple)):
        return [*cast("Sequence[Any]", value), *fresh]
    return fresh if value is MISSING else [value, *fresh]


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
