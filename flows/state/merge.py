"""Merge branches into one context: three-way against the fork, in declared order; conflicts are refused.

The merge never depends on the order in which branches finished, so two runs give the same result.
"""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, cast

from flows.errors import MergeConflict, OrchestrationError, UnknownName, message_of
from flows.state.context import Context
from flows.state.deltas import MISSING, Change, Delta, Field, Reducer, compatible, overlaps
from flows.state.values import own

DEFAULT_REDUCERS: Mapping[str, str] = MappingProxyType({"results": "union_by(id)"})
"""Reducers by field. The key of a field outside the section `data` begins with the section: `tags.topic`."""
_LOG = "log.entries"


def merge_deltas(
    parent: Context,
    branches: Sequence[tuple[str, Delta]],
    *,
    reducers: Mapping[str, str] = DEFAULT_REDUCERS,
    ordered: Callable[[int, int], bool] = lambda first, second: False,
) -> None:
    """Apply the deltas of `branches` (name, delta; in declared order) to the context that they were forked from.

    `reducers` has the reducer of each field that several branches write. Without one, only the log (lines are joined)
    and tags with lists (joined without repetitions) can be combined. `ordered(i, j)` is true if branch j saw the
    changes of branch i; the changes of such a pair cannot conflict.

    Raises:
        MergeConflict: two branches changed one value differently, and no reducer is declared for the field.
    """
    by_field: dict[Field, list[tuple[int, Change]]] = {}
    for number, (_, delta) in enumerate(branches):
        for change in delta:
            by_field.setdefault((change.path[0], change.path[1]), []).append((number, change))
    merged: list[Change] = []
    names = [name for name, _ in branches]
    for field, changes in by_field.items():
        reducer_name = reducers.get(reducer_key(field)) or _natural_reducer(parent, field, changes)
        if reducer_name:
            merged.append(_reduce(parent, field, reducer_name, [(names[i], change) for i, change in changes]))
            continue
        _check_conflicts(changes, names, ordered)
        merged.extend(change for _, change in changes)
    parent.apply(tuple(merged))


def reducer_key(field: Field) -> str:
    """The key of a field in `reducers`: its name; outside the section `data`, the section, a dot and the name."""
    section, name = field
    return str(name) if section == "data" else f"{section}.{name}"


def _natural_reducer(parent: Context, field: Field, changes: Sequence[tuple[int, Change]]) -> str:
    """How the changes of a field are combined if no reducer is declared; empty for fields that may conflict."""
    if reducer_key(field) == _LOG or field[0] == "aside":
        return "append"
    lists = all(len(change.path) == 2 and isinstance(change.value, list) for _, change in changes)
    if field[0] == "tags" and lists and isinstance(parent.field_value(*field), (list, type(MISSING))):
        return "union_by(id)"
    return ""


def _check_conflicts(
    changes: Sequence[tuple[int, Change]], names: Sequence[str], ordered: Callable[[int, int], bool]
) -> None:
    """Refuse incompatible changes by two branches; only changes whose paths overlap are compared."""
    by_path: dict[tuple[Any, ...], list[tuple[int, Change]]] = {}
    depths: set[int] = set()
    for number, change in changes:
        for depth in sorted(depths | {len(change.path)}):
            for other, earlier in by_path.get(change.path[:depth], ()):
                _check_pair(other, earlier, number, change, names, ordered)
        # The path of a later change may also enclose those of earlier ones.
        for path, found in by_path.items():
            if len(path) > len(change.path) and path[: len(change.path)] == change.path:
                for other, earlier in found:
                    _check_pair(other, earlier, number, change, names, ordered)
        by_path.setdefault(change.path, []).append((number, change))
        depths.add(len(change.path))


def _check_pair(
    first: int, earlier: Change, second: int, later: Change, names: Sequence[str], ordered: Callable[[int, int], bool]
) -> None:
    if first == second or not overlaps(earlier, later) or compatible(earlier, later) or ordered(first, second):
        return
    key = reducer_key((earlier.path[0], earlier.path[1]))
    raise MergeConflict(earlier.field, names[first], names[second], str(earlier), str(later), key)


def _reduce(parent: Context, field: Field, name: str, changes: list[tuple[str, Change]]) -> Change:
    base = parent.field_value(*field)
    before = base if isinstance(base, (int, float)) and not isinstance(base, bool) else MISSING
    combine = resolve_reducer(name)
    try:
        combined = combine(base, changes)
    except OrchestrationError:
        raise
    except Exception as error:  # a user's reducer may raise any error
        written = ", ".join(f"{branch} wrote {change}" for branch, change in changes)
        raise OrchestrationError(
            f"the reducer {name!r} cannot combine {reducer_key(field)!r}: {type(error).__name__}: {message_of(error)} "
            f"({written})"
        ) from error
    return Change("set", field, combined, before)


def resolve_reducer(name: str) -> Reducer:
    """The reducer of that name: `append`, `union_by(id)`, `sum`, `max`, `min`, `replace`, `namespaced`, or your own.

    Raises:
        UnknownName: it is not registered.
    """
    head, _, argument = name.partition("(")
    head = head.strip()
    if head == "union_by":
        key = argument.rstrip(")").strip() or "id"
        return lambda base, changes: _union(base, changes, key)
    if head not in REDUCERS:
        raise UnknownName("reducer", name, [*REDUCERS, "union_by(id)"])
    return REDUCERS[head]


def reducer(name: str) -> Callable[[Callable[[Any, Sequence[Any]], Any]], Callable[[Any, Sequence[Any]], Any]]:
    """Register `function(base, values)` as a reducer: the value at the fork or None, and one value per branch."""

    def register(function: Callable[[Any, Sequence[Any]], Any]) -> Callable[[Any, Sequence[Any]], Any]:
        def combine(base: Any, changes: Sequence[tuple[str, Change]]) -> Any:
            # Pass copies, because contexts and deltas hold the values, and a reducer may change its arguments.
            written = [own(_written_value(base, change)).value for _, change in changes]
            return function(None if base is MISSING else own(base).value, written)

        REDUCERS[name] = combine
        return function

    return register


def _as_items(value: Any) -> list[Any]:
    return list(cast("Sequence[Any]", value)) if isinstance(value, (list, tuple)) else [value]


def _written_value(base: Any, change: Change) -> Any:
    """The whole value that a branch left in the field."""
    if len(change.path) > 2:
        raise OrchestrationError(
            f"a reducer is declared for {change.path[1]!r}, but a branch changed only {change.field!r} in it; "
            "write the whole field, or declare no reducer: changes of different keys merge by themselves"
        )
    if change.kind == "append":
        return [*([] if base is MISSING else _as_items(base)), *change.value]
    return None if change.kind == "delete" else change.value


def _append(base: Any, changes: Sequence[tuple[str, Change]]) -> list[Any]:
    joined = [] if base is MISSING else _as_items(base)
    for _, change in changes:
        joined.extend(change.value if change.kind == "append" else _as_items(_written_value(base, change)))
    return joined


def _union(base: Any, changes: Sequence[tuple[str, Change]], key: str) -> list[Any]:
    united: dict[Any, Any] = {}
    for item in _append(base, changes):
        mark: Any = item.get(key) if isinstance(item, Mapping) else getattr(item, key, item)  # pyright: ignore
        united.setdefault(mark, item)
    return list(united.values())


def _sum(base: Any, changes: Sequence[tuple[str, Change]]) -> Any:
    total = 0 if base is MISSING else base
    for _, change in changes:
        total = total + change.value - (0 if change.before is MISSING else change.before)
    return total


def _extreme(choose: Callable[..., Any]) -> Reducer:
    return lambda base, changes: choose(
        [*([] if base is MISSING else [base]), *(_written_value(base, change) for _, change in changes)]
    )


def _namespaced(base: Any, changes: Sequence[tuple[str, Change]]) -> dict[str, Any]:
    kept: dict[str, Any] = dict(cast("Mapping[str, Any]", base)) if isinstance(base, Mapping) else {}
    return kept | {branch: _written_value(base, change) for branch, change in changes}


REDUCERS: dict[str, Reducer] = {
    "replace": lambda base, changes: _written_value(base, changes[-1][1]),
    "append": _append,
    "sum": _sum,
    "max": _extreme(max),
    "min": _extreme(min),
    "namespaced": _namespaced,
}
