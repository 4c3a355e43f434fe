"""The fields of branches and their merge, on plain dictionaries: the reference for checking the engine's states.

Written from docs/context.md, without any code of the engine or of `flows.state.merge`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from flows.testkit.trace import value_mark

Fields = dict[str, Any]
_NOTHING: Any = object()


class Unsure(Exception):
    """The reference does not know a value, for example of a handler that takes the context."""


class Refused(Exception):
    """Two branches wrote one field, and no reducer is declared for it."""


@dataclass(frozen=True)
class FieldWrite:
    """The change of one branch to one field: it wrote a value, or extended a list."""

    value: Any
    extends: bool = False
    before: Any = _NOTHING


Writes = dict[str, FieldWrite]


def writes_between(base: Mapping[str, Any], after: Mapping[str, Any]) -> Writes:
    """The fields that a branch changed; one that was written without being changed is not among them."""
    found: Writes = {}
    for name, value in after.items():
        before = base.get(name, _NOTHING)
        if value is before or (before is not _NOTHING and _same(value, before)):
            continue
        if isinstance(before, list) and isinstance(value, list):
            old, new = cast("list[Any]", before), cast("list[Any]", value)
            if len(new) > len(old) and _same(new[: len(old)], old):
                found[name] = FieldWrite(new[len(old) :], extends=True)
                continue
        found[name] = FieldWrite(value, before=before)
    return found


def apply_writes(fields: Fields, writes: Writes) -> None:
    """Change the fields as one branch did."""
    for name, write in writes.items():
        fields[name] = [*fields.get(name, ()), *write.value] if write.extends else write.value


def merge_writes(
    fields: Fields,
    branches: Sequence[Writes],
    reducers: Mapping[str, str],
    *,
    ordered: Callable[[int, int], bool] = lambda first, second: False,
) -> None:
    """Merge what branches wrote, in the given order; nothing is merged if one field is refused.

    Raises:
        Refused: two of them wrote different values without a reducer.
        Unsure: a reducer is not known here.
    """
    merged: Fields = {}
    for name in dict.fromkeys(name for writes in branches for name in writes):
        written = [(index, writes[name]) for index, writes in enumerate(branches) if name in writes]
        base = fields.get(name, _NOTHING)
        if name in reducers:
            merged[name] = _reduced(reducers[name], base, [write for _, write in written])
            continue
        for later, (second, write) in enumerate(written):
            for first, earlier in written[:later]:
                if not ordered(first, second) and not _compatible(earlier, write):
                    raise Refused(name)
        own: Fields = {} if base is _NOTHING else {name: base}
        for _, write in written:
            apply_writes(own, {name: write})
        merged[name] = own[name]
    fields |= merged


def _reduced(reducer: str, base: Any, writes: Sequence[FieldWrite]) -> Any:
    values = [_whole_value(base, write) for write in writes]
    match reducer:
        case "append":
            kept = [] if base is _NOTHING else _as_list(base)
            return kept + [item for write in writes for item in _as_list(write.value)]
        case "replace":
            return values[-1]
        case "max":
            return max(values if base is _NOTHING else [base, *values])
        case "min":
            return min(values if base is _NOTHING else [base, *values])
        case "sum":
            start = 0 if base is _NOTHING else base
            return start + sum(write.value - (0 if write.before is _NOTHING else write.before) for write in writes)
        case _:
            raise Unsure(f"the reducer {reducer}")


def _whole_value(base: Any, write: FieldWrite) -> Any:
    if not write.extends:
        return write.value
    return [*([] if base is _NOTHING else _as_list(base)), *write.value]


def _as_list(value: Any) -> list[Any]:
    return list(cast("Sequence[Any]", value)) if isinstance(value, (list, tuple)) else [value]


def _compatible(first: FieldWrite, second: FieldWrite) -> bool:
    if all(isinstance(one.value, dict) for one in (first, second)):
        raise Unsure("mappings are merged key by key")
    return (first.extends and second.extends) or (first.extends == second.extends and _same(first.value, second.value))


def _same(first: Any, second: Any) -> bool:
    mark = value_mark(first)
    return bool(mark) and mark == value_mark(second)
