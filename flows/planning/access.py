"""Checks of reads and writes: fields that nothing writes, branches that read a sibling's field, two writers of one."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from typing import Any, NamedTuple, cast

from flows.author import ReadParameter
from flows.errors import suggest
from flows.model import required_names
from flows.planning.dependencies import all_before
from flows.planning.plan import Access, Chain, Choice, FanIn, Group, Leaf, Loop, Node, Plan, Sub


class AccessProblem(NamedTuple):
    """One thing that is wrong with the reads and writes of a step."""

    path: str
    code: str
    message: str
    certain: bool
    """Whether it is wrong for every run, whatever fields the run starts with."""
    keys: tuple[str, ...] = ()
    """The key of the step that is wrong."""


def node_access(nodes: Sequence[Node]) -> Access:
    """The reads from outside, the writes and the effects of nodes that run in this order."""
    total = Access()
    for node in nodes:
        reads = node.access.reads - total.writes
        total = total | replace(node.access, reads=reads)
    return total


def check_access(root: Node, given: frozenset[str], reducers: Mapping[str, str]) -> Iterator[AccessProblem]:
    """Yield everything that is wrong with reads and writes, in declared order; the run starts with `given` fields."""
    yield from _check_node(root, given, True, reducers)


def _check_node(node: Node, there: frozenset[str], known: bool, reducers: Mapping[str, str]) -> Iterator[AccessProblem]:
    """Check a node that finds the fields `there`; `known` if there can be no others."""
    yield from _unknown_names(node, _condition(node.when), there, known, "when")
    match node:
        case Leaf():
            for option, value in node.options.items():
                for text in _templates(value):
                    yield from _unknown_names(node, text, there, known, "options", option)
            for read in node.spec.reads or ():
                name = node.reads[read.name]
                if known and read.required and name not in there:
                    message = (
                        f"{node.label} reads {name!r}, which no earlier step writes and no parameter gives; "
                        f"there are: {', '.join(sorted(there)) or 'none'}"
                    )
                    yield _unwritten_read(node, message)
        case Chain():
            for child in node.children:
                yield from _check_node(child, there, known, reducers)
                there, known = there | child.access.writes, known and child.access.known
        case Group(derived=True):
            in_order = Chain(path=node.path, id=node.id, label=node.label, children=node.children)
            yield from _check_node(in_order, there, known, reducers)
        case Group():
            yield from _check_siblings(node, there, reducers)
            for index, child in enumerate(node.children):
                seen = there.union(*(node.children[i].access.writes for i in all_before(node.after, index)))
                siblings = node_access(node.children).writes - child.access.writes
                # A read of a sibling's field is reported once, by `_check_siblings`.
                yield from _check_node(child, seen | siblings, known, reducers)
        case Loop():
            if known and node.over.split(".")[0] not in there and not node.over.startswith("@"):
                yield _unwritten_read(node, f"for_each goes over {node.over!r}, which nothing before it writes")
            yield from _check_node(node.body, there | {node.item_name}, known, reducers)
        case Choice():
            for condition, inner in node.cases:
                yield from _unknown_names(node, _condition(condition), there, known, "cases")
                yield from _check_node(inner, there, known, reducers)
        case Sub():
            for text in _templates(node.parameters):
                yield from _unknown_names(node, text, there, known, "parameters")
            inside = there | frozenset(node.plan.pipeline.parameters)
            for problem in _check_node(node.plan.root, inside, known, reducers):
                yield problem._replace(path=node.path)
        case FanIn():
            for name in node.inputs:
                if known and name not in there:
                    yield _unwritten_read(node, f"merge_results reads {name!r}, which nothing before it writes")


def _unknown_names(
    node: Node, template: str, there: frozenset[str], known: bool, *keys: str
) -> Iterator[AccessProblem]:
    """The fields that a condition or template needs and that cannot be there; without certainty, misspelt ones only."""
    for name in sorted(required_names(template) - there) if template else ():
        if known or get_close_matches(name, there, n=1, cutoff=0.8):
            where = "when" if keys[0] == "cases" else ".".join(keys)
            message = f"{where}: no field named {name!r}{suggest(name, sorted(there))}"
            yield AccessProblem(node.path, "unknown-field", message, known, keys)


def _condition(text: str | None) -> str:
    return "" if text is None else "{{ " + text + " }}"


def _templates(value: Any) -> Iterator[str]:
    """The texts with templates in a value."""
    if isinstance(value, str):
        yield from [value] if "{{" in value else []
    elif isinstance(value, Mapping):
        for item in cast("Mapping[Any, Any]", value).values():
            yield from _templates(item)
    elif isinstance(value, (list, tuple)):
        for item in cast("Sequence[Any]", value):
            yield from _templates(item)


def _unwritten_read(node: Node, message: str) -> AccessProblem:
    return AccessProblem(node.path, "unwritten-read", message, False)


def _check_siblings(group: Group, there: frozenset[str], reducers: Mapping[str, str]) -> Iterator[AccessProblem]:
    combined = {**reducers, **group.reducers}
    for later, second in enumerate(group.children):
        seen = all_before(group.after, later)
        for earlier, first in enumerate(group.children):
            if earlier == later or earlier in seen or later in all_before(group.after, earlier):
                continue
            for name in sorted(second.access.reads & first.access.writes - there):
                yield AccessProblem(
                    second.path,
                    "reads-sibling",
                    f"branch {second.label!r} reads {name!r}, which its sibling {first.label!r} writes; branches do "
                    f"not see each other: put one after the other, or declare depends_on: [{first.id}]",
                    True,
                )
            for name in sorted(second.access.writes & first.access.writes) if earlier < later else ():
                if name not in combined:
                    yield AccessProblem(
                        second.path,
                        "parallel-write",
                        f"branches {first.label!r} and {second.label!r} both write {name!r}; declare how to combine "
                        f"them, for example `reducers: {{{name}: namespaced}}`, or rename one write",
                        True,
                    )


def open_reads(plan: Plan) -> tuple[ReadParameter, ...]:
    """The fields that a run has to bring besides the pipeline's parameters, in the order in which steps read them.

    `required` says whether a handler cannot do without the field; the annotation is that of its readers, if they agree.
    """
    readers: dict[str, list[ReadParameter]] = {}
    for leaf in plan.leaves:
        for read in leaf.spec.reads or ():
            readers.setdefault(leaf.reads[read.name], []).append(read)
    missing = plan.root.access.reads - frozenset(plan.pipeline.parameters)
    names = [name for name in readers if name in missing] + sorted(missing - readers.keys())
    return tuple(_combined_read(name, readers.get(name, [])) for name in names)


def _combined_read(name: str, readers: Sequence[ReadParameter]) -> ReadParameter:
    kinds = [read.annotation for read in readers]
    same = bool(kinds) and all(kind == kinds[0] for kind in kinds)
    return ReadParameter(name, any(read.required for read in readers), kinds[0] if same else Any)
