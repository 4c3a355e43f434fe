"""The outputs of a plan: those that its pipeline declares, else the fields that no later step reads."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from flows.author import OutputField
from flows.model import Pipeline, condition_names
from flows.planning.plan import Chain, Choice, FanIn, Group, Leaf, Loop, Node, Sub, walk_nodes
from flows.planning.type_flow import annotation_text


def plan_outputs(pipeline: Pipeline, root: Node) -> tuple[OutputField, ...]:
    """The outputs of a pipeline, in declared order; by default the unread fields, in the order of their writers."""
    if pipeline.outputs is not None:
        types = _field_types(root)
        return tuple(
            OutputField(name, each.field, each.description, _type_text(types.get(each.field, Any)))
            for name, each in pipeline.outputs.items()
        )
    return tuple(OutputField(name, name, "", _type_text(kind)) for name, kind in _Reading().of(root).written.items())


def writes_are_known(root: Node) -> bool:
    """Whether the steps write only fields that they declare."""
    return all(node.spec.writes is not None for node in walk_nodes(root) if isinstance(node, Leaf) and node.enabled)


@dataclass
class _Access:
    """The reads and writes of nodes that run in order."""

    read: set[str] = field(default_factory=set[str])
    """The fields from outside that the nodes read."""
    written: dict[str, Any] = field(default_factory=dict[str, Any])
    """The fields that the nodes write and do not read afterwards, with their types (`Any` if unknown)."""

    def then(self, later: "_Access") -> None:
        """Add the access of nodes that run afterwards."""
        for name in later.read:
            self.written.pop(name, None)
        self.read |= later.read
        for name, kind in later.written.items():
            self.written.pop(name, None)  # removed first, so that the last writer determines the order
            self.written[name] = kind

    def beside(self, other: "_Access") -> None:
        """Add the access of nodes that run at the same time and do not see these writes."""
        self.read |= other.read
        self.written |= other.written


class _Reading:
    """Walks a plan in declared order and finds the fields that no step reads after they were written."""

    def __init__(self) -> None:
        self._groups: dict[str, frozenset[str]] = {}
        """By id of a group: the fields that its branches write, which a later fan-in of the group reads."""

    def of(self, node: Node) -> _Access:
        found = _Access(set(condition_names(node.when)) if node.when else set())
        if node.enabled:
            found.then(self._of_kind(node))
        return found

    def _of_kind(self, node: Node) -> _Access:
        match node:
            case Leaf():
                return _Access({*node.access.reads}, dict.fromkeys(node.writes.values(), _leaf_type(node)))
            case FanIn():
                branches = self._groups.get(node.group or "", frozenset())
                return _Access({*node.access.reads, *branches}, dict.fromkeys(node.access.writes, Any))
            case Loop():
                return _Access({*node.access.reads}, _collected_types(node))
            case Sub():
                types = _field_types(node.plan.root)
                left = [each.field.split(".")[0] for each in node.plan.outputs]
                return _Access({*node.access.reads}, {name: types.get(name, Any) for name in left})
            case Chain():
                return self._of_all(node.children, in_order=True)
            case Choice():
                found = _Access({name for when, _ in node.cases if when for name in condition_names(when)})
                found.then(self._of_all([inner for _, inner in node.cases], in_order=False))
                return found
            case Group():
                return self._of_group(node)

    def _of_all(self, nodes: Iterable[Node], *, in_order: bool) -> _Access:
        found = _Access()
        for node in nodes:
            (found.then if in_order else found.beside)(self.of(node))
        return found

    def _of_group(self, group: Group) -> _Access:
        self._groups[group.id] = group.access.writes
        found = self._of_all(group.children, in_order=group.derived or any(group.after))
        if group.split is not None:
            found.read.add(group.split.over.split(".")[0])
        if group.merge is not None:
            # The merge reads what the branches wrote.
            found.read |= group.access.writes
            found.written = {group.merge.output: Any} if group.merge.output else {}
        found.written |= {name: Any for name in group.reducers if name in found.written}
        return found


def _field_types(node: Node) -> dict[str, Any]:
    """The types of the fields that a node leaves, as their last writers declare them; a field may be missing."""
    match node:
        case Leaf():
            return dict.fromkeys(node.writes.values(), _leaf_type(node))
        case Loop():
            return _collected_types(node)
        case Sub():
            return _field_types(node.plan.root)
        case FanIn():
            return dict.fromkeys(node.access.writes, Any)
        case Chain() | Group() | Choice():
            children = [inner for _, inner in node.cases] if isinstance(node, Choice) else node.children
            found: dict[str, Any] = {}
            for child in children:
                found |= _field_types(child)
            if isinstance(node, Group):
                found |= dict.fromkeys(node.reducers, Any)
                found |= {node.merge.output: Any} if node.merge is not None and node.merge.output else {}
            return found


def _leaf_type(leaf: Leaf) -> Any:
    return leaf.spec.returns if len(leaf.writes) == 1 and not leaf.spec.takes_context else Any


def _collected_types(loop: Loop) -> dict[str, Any]:
    """The types of the fields that leave a loop: lists of the items' values."""
    inner = _field_types(loop.body)
    types = {name: inner.get(collected, Any) for collected, name in loop.collect.items()}
    collected = {name: list if kind is Any else list[kind] for name, kind in types.items()}
    return dict.fromkeys(sorted(loop.access.writes), Any) | collected


def _type_text(kind: Any) -> str:
    """A type for display, without the modules of classes; empty if it is unknown."""
    return "" if kind is Any else re.sub(r"\b(?:[A-Za-z_]\w*\.)+(?=[A-Za-z_])", "", annotation_text(kind))
