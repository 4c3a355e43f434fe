"""Whether what a step writes can be what a later step reads, by what their functions declare.

Only what cannot fit in any run is told: a text for a list, a number for a mapping, a class for one that it has nothing
to do with. Whatever is not declared, or declared loosely, fits.
"""

import inspect
import types
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal, TypeAlias, TypeVar, Union, cast, get_args, get_origin, is_typeddict

from flows.planning.access import all_before
from flows.planning.plan import Chain, Choice, FanIn, Group, Leaf, Loop, Node, Sub

Typed: TypeAlias = dict[str, tuple[Any, str]]
"""Field: what it holds, and who wrote that (`%s` stands for the type). A field that several may have written is left
out."""
Mismatch: TypeAlias = tuple[str, str]
"""The path of the step that reads, and what does not fit."""
_KINDS: tuple[tuple[str, tuple[type, ...]], ...] = (
    ("a text", (str,)),
    ("bytes", (bytes, bytearray)),
    ("a mapping", (Mapping,)),
    ("a set", (set, frozenset)),
    ("a number", (int, float, complex)),
    ("a list", (list, tuple, Sequence)),
)


def mismatches(root: Node) -> Iterator[Mismatch]:
    """Every read whose value was declared as something else, in declared order."""
    yield from _check(root, {})


def _check(node: Node, there: Typed) -> Iterator[Mismatch]:
    match node:
        case Leaf():
            for read in node.spec.reads or ():
                source = node.reads.get(read.name, read.name)
                if source in there and not may_fit(there[source][0], read.annotation):
                    held, writer = there[source]
                    wanted = named(read.annotation)
                    yield node.path, f"{node.label} reads {source!r} as {wanted}, but {writer % named(held)}"
        case Chain():
            seen = dict(there)
            for child in node.children:
                yield from _check(child, seen)
                _add(seen, child)
        case Group():
            for position, child in enumerate(node.children):
                seen = dict(there)
                for before in sorted(all_before(node.after, position)):
                    _add(seen, node.children[before])
                if node.split is not None:
                    seen.pop(node.split.over.split(".")[0], None)
                yield from _check(child, seen)
        case Loop():
            inside = {name: held for name, held in there.items() if name != node.item_name}
            if node.over in there and node.batch_size is None:
                items = _items(there[node.over][0])
                if items is not Any:
                    inside[node.item_name] = (items, f"{there[node.over][1]}, an item of {node.over!r}")
            yield from _check(node.body, inside)
        case Choice():
            for _, inner in node.cases:
                yield from _check(inner, dict(there))
        case Sub() | FanIn():
            return


def _add(seen: Typed, node: Node) -> None:
    """Add what a node writes; what is not known of a field replaces what was."""
    if not node.access.known:
        seen.clear()
        return
    for name in node.access.writes:
        seen.pop(name, None)
    if isinstance(node, Leaf) and node.enabled and node.when is None and not node.spec.takes_context:
        if len(node.writes) == 1:
            (target,) = node.writes.values()
            seen[target] = (node.spec.returns, f"{node.label.replace('%', '%%')} writes %s")
    elif isinstance(node, Chain) and node.enabled and node.when is None:
        for child in node.children:
            _add(seen, child)
    elif isinstance(node, Group) and node.enabled and node.when is None and node.merge is None:
        for child in node.children:
            _add(seen, child)
        for name in node.reducers:
            seen.pop(name, None)


def may_fit(held: Any, wanted: Any) -> bool:
    """Whether a value declared as `held` could be one declared as `wanted`."""
    held_options, wanted_options = _options(held), _options(wanted)
    return any(_one_may_fit(one, other) for one in held_options for other in wanted_options)


def _options(annotation: Any) -> tuple[Any, ...]:
    """The members of a union, and of what stands for one."""
    while get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    if get_origin(annotation) in (Union, types.UnionType):
        return tuple(inner for member in get_args(annotation) for inner in _options(member))
    if get_origin(annotation) is Literal:
        return tuple({type(value) for value in cast("tuple[object, ...]", get_args(annotation))})
    return (type(None),) if annotation is None else (annotation,)


def _one_may_fit(held: Any, wanted: Any) -> bool:
    held_class, wanted_class = _class_of(held), _class_of(wanted)
    if held_class is None or wanted_class is None:
        return True
    held_kind, wanted_kind = _kind(held_class), _kind(wanted_class)
    if held_kind and held_kind == wanted_kind:
        inner, other = get_args(held), get_args(wanted)
        if held_kind == "a list" and len(inner) and len(other) and tuple not in (held_class, wanted_class):
            return may_fit(inner[0], other[0])
        return True
    if issubclass(held_class, wanted_class) or issubclass(wanted_class, held_class):
        return True
    # What is no builtin kind and no plain class (a protocol, an abstract class) may be anything.
    return not all(kind or _is_plain(one) for kind, one in ((held_kind, held_class), (wanted_kind, wanted_class)))


def _class_of(annotation: Any) -> type | None:
    """The class that an annotation demands; None if it demands none."""
    if annotation is Any or annotation is object or isinstance(annotation, TypeVar) or is_typeddict(annotation):
        return Mapping if is_typeddict(annotation) else None
    origin = get_origin(annotation) or annotation
    return origin if isinstance(origin, type) and not getattr(origin, "_is_protocol", False) else None


def _kind(one: type) -> str:
    return next((kind for kind, classes in _KINDS if issubclass(one, classes)), "")


def _is_plain(one: type) -> bool:
    return not inspect.isabstract(one) and one.__module__ not in ("typing", "collections.abc", "abc")


def _items(annotation: Any) -> Any:
    arguments = get_args(annotation)
    listed = _class_of(annotation)
    return arguments[0] if arguments and listed is not None and _kind(listed) == "a list" else Any


def named(annotation: Any) -> str:
    """An annotation as a message shows it."""
    if annotation is None or annotation is type(None):
        return "None"
    return annotation.__name__ if isinstance(annotation, type) and not get_args(annotation) else _short(annotation)


def _short(annotation: Any) -> str:
    return str(annotation).replace("typing.", "").replace("collections.abc.", "")
