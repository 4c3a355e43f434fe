"""The outputs of a plan: those that its pipeline declares, else the fields that no later step reads."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from flows.author import OutputField
from flows.model import Pipeline, condition_names
from flows.planning.plan import Chain, Choice, FanIn, Group, Leaf, Loop, Node, Sub, walk_nodes
from flows.planning.type_flow import annotation_text

Unread: TypeAlias = dict[str, Any]
"""By field that nothing has read since it was written: the type of its writer, `Any` if that is unknown."""


def plan_outputs(pipeline: Pipeline, root: Node) -> tuple[OutputField, ...]:
    """The outputs of a pipeline, in declared order; by default the unread fields, in the order of their writers."""
    if pipeline.outputs is not None:
        types = _field_types(root)
        return tuple(
            OutputField(name, each.field, each.description, _type_text(types.get(each.field, Any)))
            for name, each in pipeline.outputs.items()
        )
    return tuple(OutputField(name, name, "", _type_text(kind)) for name, kind in _Reading(root).unread.items())


def writes_are_known(root: Node) -> bool:
    """Whether the steps write only fields that they declare."""
    return all(node.spec.writes is not None for node in walk_nodes(root) if isinstance(node, Leaf) and node.enabled)


class _Reading:
    """Walks a plan in declared order and notes which fields have not been read since they were written."""

    def __init__(self, root: Node) -> None:
        self._groups: dict[str, frozenset[str]] = {}
        """By id of a group: what its branches write, which a later fan-in of the group reads."""
        self.unread = self._after(root, {})

    def _after(self, node: Node, unread: Unread) -> Unread:
        """The unread fields after a node that finds the fields `unread`."""
        if not node.enabled:
            return unread
        if isinstance(node, (Group, Choice, Chain)):
            conditions = [node.when, *([when for when, _ in node.cases] if isinstance(node, Choice) else [])]
            read = frozenset[str]().union(*(condition_names(each) for each in conditions if each))
        else:
            read = node.access.reads
        left = {name: kind for name, kind in unread.items() if name not in read}
        match node:
            case Leaf():
                return _with(left, dict.fromkeys(node.writes.values(), _leaf_type(node)))
            case FanIn():
                merged = self._groups.get(node.group or "", frozenset())
                left = {name: kind for name, kind in left.items() if name not in merged}
                return _with(left, dict.fromkeys(node.access.writes, Any))
            case Chain():
                for child in node.children:
                    left = self._after(child, left)
                return left
            case Group():
                self._groups[node.id] = node.access.writes
                return self._after_group(node, left)
            case Choice():
                return self._after_branches([inner for _, inner in node.cases], left)
            case Loop():
                return _with(left, _collected_types(node))
            case Sub():
                inner = {each.field.split(".")[0]: Any for each in node.plan.outputs}
                types = _field_types(node.plan.root)
                return _with(left, {name: types.get(name, Any) for name in inner})

    def _after_group(self, group: Group, unread: Unread) -> Unread:
        if group.split is not None:
            unread = {name: kind for name, kind in unread.items() if name != group.split.over.split(".")[0]}
        if group.derived or any(group.after):
            left = unread
            for child in group.children:
                left = self._after(child, left)
        else:
            left = self._after_branches(group.children, unread)
        if group.merge is None:
            return {name: Any if name in group.reducers else kind for name, kind in left.items()}
        branches = frozenset[str]().union(*(child.access.writes for child in group.children))
        output = {group.merge.output: Any} if group.merge.output else {}
        return _with({name: kind for name, kind in left.items() if name not in branches}, output)

    def _after_branches(self, branches: Sequence[Node], unread: Unread) -> Unread:
        """After branches that do not see each other: a field that one of them reads stays if another writes it."""
        ends = [self._after(branch, unread) for branch in branches]
        written: Unread = {}
        for branch, end in zip(branches, ends, strict=True):
            written |= {name: kind for name, kind in end.items() if name in branch.access.writes}
        left = {name: kind for name, kind in unread.items() if all(name in end for end in ends)}
        return _with(left, written)


def _with(unread: Unread, written: Mapping[str, Any]) -> Unread:
    """The fields after some were written; they come last."""
    return {**{name: kind for name, kind in unread.items() if name not in written}, **written}


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
    """The types of the fields that leave a loop: lists of what the items wrote."""
    inner = _field_types(loop.body)
    types = {name: inner.get(field, Any) for field, name in loop.collect.items()}
    collected = {name: list if kind is Any else list[kind] for name, kind in types.items()}
    return dict.fromkeys(sorted(loop.access.writes), Any) | collected


def _type_text(kind: Any) -> str:
    """A type as people read it, without the modules of classes; empty if it is unknown."""
    return "" if kind is Any else re.sub(r"\b(?:[A-Za-z_]\w*\.)+(?=[A-Za-z_])", "", annotation_text(kind))
