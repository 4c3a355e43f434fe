"""Checks that the type that a step writes fits the type that a later step reads, using the functions' annotations.

Only certain mismatches are reported: a text for a list, a number for a mapping, a class for an unrelated class. A
missing or loose annotation fits everything.
"""

import inspect
import types
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal, TypeAlias, TypeVar, Union, cast, get_args, get_origin, is_typeddict

from flows.planning.branch_views import BranchViews
from flows.planning.plan import Chain, Choice, FanIn, Group, Leaf, Loop, Node, Sub

FieldTypes: TypeAlias = dict[str, tuple[Any, str]]
"""The type of each field, and a sentence about its writer (`%s` stands for the type). Fields with several possible
writers are left out.
"""
Mismatch: TypeAlias = tuple[str, str]
"""The path of the step that reads, and a message."""
_KINDS: tuple[tuple[str, tuple[type, ...]], ...] = (
    ("a text", (str,)),
    ("bytes", (bytes, bytearray)),
    ("a mapping", (Mapping,)),
    ("a set", (set, frozenset)),
    ("a number", (int, float, complex)),
    ("a list", (list, tuple, Sequence)),
)


def mismatches(root: Node) -> Iterator[Mismatch]:
    """Yield every read of a field that was declared with another type, in declared order."""
    yield from _check_node(root, {})


def _check_node(node: Node, there: FieldTypes) -> Iterator[Mismatch]:
    match node:
        case Leaf():
            for read in node.spec.reads or ():
                name = node.reads.get(read.name, read.name)
                if name in there and not may_fit(there[name][0], read.annotation):
                    held, writer = there[name]
                    wanted = annotation_text(read.annotation)
                    yield node.path, f"{node.label} reads {name!r} as {wanted}, but {writer % annotation_text(held)}"
        case Chain():
            seen = dict(there)
            for child in node.children:
                yield from _check_node(child, seen)
                _add_writes(seen, child)
        case Group():
            split = node.split.over.split(".")[0] if node.split is not None else None
            views = BranchViews[FieldTypes](
                node.after,
                len(node.children),
                fork=lambda: dict(there),
                copy=lambda seen: dict(seen),
                add=lambda seen, earlier: _add_writes(seen, node.children[earlier]),
            )
            for index, child in enumerate(node.children):
                seen = views.begin(index)
                shared = seen.pop(split, None) if split is not None else None
                yield from _check_node(child, seen)
                if split is not None and shared is not None:
                    seen[split] = shared
                views.end(index, seen)
        case Loop():
            inside = {name: held for name, held in there.items() if name != node.item_name}
            if node.over in there and node.batch_size is None:
                items = _item_type(there[node.over][0])
                if items is not Any:
                    inside[node.item_name] = (items, f"{there[node.over][1]}, an item of {node.over!r}")
            yield from _check_node(node.body, inside)
        case Choice():
            for _, inner in node.cases:
                yield from _check_node(inner, dict(there))
        case Sub() | FanIn():
            return


def _add_writes(seen: FieldTypes, node: Node) -> None:
    """Add the types of the fields that a node writes; a field that it writes with an unknown type is removed."""
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
            _add_writes(seen, child)
    elif isinstance(node, Group) and node.enabled and node.when is None and node.merge is None:
        for child in node.children:
            _add_writes(seen, child)
        for name in node.reducers:
            seen.pop(name, None)


def may_fit(held: Any, wanted: Any) -> bool:
    """Whether a value of the type `held` could be a value of the type `wanted`."""
    held_options, wanted_options = _options(held), _options(wanted)
    return any(_one_may_fit(one, other) for one in held_options for other in wanted_options)


def _options(annotation: Any) -> tuple[Any, ...]:
    """The members of a union, or of a type that stands for one."""
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
    held_kind, wanted_kind = _type_kind(held_class), _type_kind(wanted_class)
    if held_kind and held_kind == wanted_kind:
        inner, other = get_args(held), get_args(wanted)
        if held_kind == "a list" and len(inner) and len(other) and tuple not in (held_class, wanted_class):
            return may_fit(inner[0], other[0])
        return True
    if issubclass(held_class, wanted_class) or issubclass(wanted_class, held_class):
        return True
    # A protocol or an abstract class may be satisfied by any class.
    return not all(kind or _is_plain(one) for kind, one in ((held_kind, held_class), (wanted_kind, wanted_class)))


def _class_of(annotation: Any) -> type | None:
    """The class that an annotation demands; None if any class will do."""
    if annotation is Any or annotation is object or isinstance(annotation, TypeVar) or is_typeddict(annotation):
        return Mapping if is_typeddict(annotation) else None
    origin = get_origin(annotation) or annotation
    return origin if isinstance(origin, type) and not getattr(origin, "_is_protocol", False) else None


def _type_kind(one: type) -> str:
    return next((kind for kind, classes in _KINDS if issubclass(one, classes)), "")


def _is_plain(one: type) -> bool:
    return not inspect.isabstract(one) and one.__module__ not in ("typing", "collections.abc", "abc")


def _item_type(annotation: Any) -> Any:
    arguments = get_args(annotation)
    listed = _class_of(annotation)
    return arguments[0] if arguments and listed is not None and _type_kind(listed) == "a list" else Any


def annotation_text(annotation: Any) -> str:
    """An annotation as a message shows it."""
    if annotation is None or annotation is type(None):
        return "None"
    if isinstance(annotation, type) and not get_args(annotation):
        return annotation.__name__
    return str(annotation).replace("typing.", "").replace("collections.abc.", "")
