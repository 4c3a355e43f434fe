"""What nodes read and write, checked: unwritten reads, branches that need a sibling, two writers of one field."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

from flows.author import Read
from flows.planning.plan import Access, Chain, Choice, FanIn, Group, Leaf, Loop, Node, Plan, Sub

Finding: TypeAlias = tuple[str, str, str, bool]
"""Path, code, message, and whether it is wrong whatever the run is given."""


def node_access(nodes: Sequence[Node]) -> Access:
    """What nodes that run in this order read from outside, write, and change elsewhere."""
    total = Access()
    for node in nodes:
        reads = node.access.reads - total.writes
        total = total | replace(node.access, reads=reads)
    return total


def check_access(root: Node, given: frozenset[str], reducers: Mapping[str, str]) -> Iterator[Finding]:
    """Everything wrong with who reads and writes what, in declared order."""
    yield from _check(root, given, True, reducers)


def _check(node: Node, there: frozenset[str], certain: bool, reducers: Mapping[str, str]) -> Iterator[Finding]:
    match node:
        case Leaf():
            for read in node.spec.reads or ():
                source = node.reads[read.name]
                if certain and read.required and source not in there:
                    yield (
                        node.path,
                        "unwritten-read",
                        f"{node.label} reads {source!r}, which no earlier step writes and no parameter gives; "
                        f"there are: {', '.join(sorted(there)) or 'none'}",
                        False,
                    )
        case Chain():
            for child in node.children:
                yield from _check(child, there, certain, reducers)
                there, certain = there | child.access.writes, certain and child.access.known
        case Group(derived=True):
            yield from _check(
                Chain(path=node.path, id=node.id, label=node.label, children=node.children), there, certain, reducers
            )
        case Group():
            yield from _check_siblings(node, there, reducers)
            for position, child in enumerate(node.children):
                seen = there.union(*(node.children[i].access.writes for i in all_before(node.after, position)))
                siblings = node_access(node.children).writes - child.access.writes
                # What a sibling writes is reported once, as such.
                yield from _check(child, seen | siblings, certain, reducers)
        case Loop():
            if certain and node.over.split(".")[0] not in there and not node.over.startswith("@"):
                yield (
                    node.path,
                    "unwritten-read",
                    f"for_each goes over {node.over!r}, which nothing before it writes",
                    False,
                )
            yield from _check(node.body, there | {node.item_name}, certain, reducers)
        case Choice():
            for _, inner in node.cases:
                yield from _check(inner, there, certain, reducers)
        case Sub():
            inside = there | frozenset(node.plan.pipeline.parameters)
            yield from (
                (node.path, code, message, always)
                for _, code, message, always in _check(node.plan.root, inside, certain, reducers)
            )
        case FanIn():
            for name in node.inputs:
                if certain and name not in there:
                    yield (
                        node.path,
                        "unwritten-read",
                        f"merge_results reads {name!r}, which nothing before it writes",
                        False,
                    )


def _check_siblings(group: Group, there: frozenset[str], reducers: Mapping[str, str]) -> Iterator[Finding]:
    combined = {**reducers, **group.reducers}
    for later, second in enumerate(group.children):
        seen = all_before(group.after, later)
        for earlier, first in enumerate(group.children):
            if earlier == later or earlier in seen or later in all_before(group.after, earlier):
                continue
            for name in sorted(second.access.reads & first.access.writes - there):
                yield (
                    second.path,
                    "reads-sibling",
                    f"branch {second.label!r} reads {name!r}, which its sibling {first.label!r} writes; branches do "
                    f"not see each other: put one after the other, or declare depends_on: [{first.id}]",
                    True,
                )
            for name in sorted(second.access.writes & first.access.writes) if earlier < later else ():
                if name not in combined:
                    yield (
                        second.path,
                        "parallel-write",
                        f"branches {first.label!r} and {second.label!r} both write {name!r}; declare how to combine "
                        f"them, for example `reducers: {{{name}: namespaced}}`, or rename one write",
                        True,
                    )


def open_reads(plan: Plan) -> tuple[Read, ...]:
    """The fields that a run has to bring besides the pipeline's parameters, in the order in which steps read them.

    `required` says whether a handler cannot do without the field; the annotation is that of its readers, if they agree.
    """
    readers: dict[str, list[Read]] = {}
    for leaf in plan.leaves:
        for read in leaf.spec.reads or ():
            readers.setdefault(leaf.reads[read.name], []).append(read)
    missing = plan.root.access.reads - frozenset(plan.pipeline.parameters)
    names = [name for name in readers if name in missing] + sorted(missing - readers.keys())
    return tuple(_as_one(name, readers.get(name, [])) for name in names)


def _as_one(name: str, readers: Sequence[Read]) -> Read:
    kinds = [read.annotation for read in readers]
    same = bool(kinds) and all(kind == kinds[0] for kind in kinds)
    return Read(name, any(read.required for read in readers), kinds[0] if same else Any)


def all_before(after: tuple[frozenset[int], ...], position: int) -> frozenset[int]:
    """The branches that branch `position` waits for, directly or through others."""
    found: set[int] = set()
    waiting = list(after[position]) if after else []
    while waiting:
        one = waiting.pop()
        if one not in found:
            found.add(one)
            waiting.extend(after[one])
    return frozenset(found)
