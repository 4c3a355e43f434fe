"""Checks of reads and writes: fields that nothing writes, branches that read a sibling's field, two writers of one."""

import itertools
from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from difflib import get_close_matches
from typing import Any, NamedTuple, cast

from flows.author import ReadParameter
from flows.errors import suggest
from flows.model import required_names
from flows.planning.dependencies import waits_of_all
from flows.planning.plan import Access, Chain, Choice, FanIn, Group, Leaf, Loop, Node, Plan, Sub

_MOST_SHOWN = 20
"""The most names in one message."""


class AccessProblem(NamedTuple):
    """One thing that is wrong with the reads and writes of a step."""

    path: str
    code: str
    message: str
    certain: bool
    """Whether it is wrong for every run, whichever fields the run starts with."""
    keys: tuple[str, ...] = ()
    """The key of the step that has the problem."""


def node_access(nodes: Sequence[Node]) -> Access:
    """The reads from outside, the writes and the effects of nodes that run in this order."""
    reads, writes, effects = set[str](), set[str](), set[str]()
    known = effects_known = True
    for node in nodes:
        access = node.access
        reads |= access.reads - writes
        writes |= access.writes
        effects |= access.effects
        known, effects_known = known and access.known, effects_known and access.effects_known
    return Access(frozenset(reads), frozenset(writes), frozenset(effects), known, effects_known)


def check_access(root: Node, given: frozenset[str], reducers: Mapping[str, str]) -> Iterator[AccessProblem]:
    """Yield everything that is wrong with reads and writes, in declared order; the run starts with `given` fields."""
    yield from _check_node(root, _Fields(given), True, reducers)


class _Fields:
    """The fields available to a node; writes of inner nodes are added during their check and removed afterwards."""

    def __init__(self, names: Iterable[str]) -> None:
        self._times = Counter(iter(names))

    def __contains__(self, name: str) -> bool:
        return self._times[name] > 0

    def __str__(self) -> str:
        return shortened(self.names) or "none"

    @property
    def names(self) -> list[str]:
        return sorted(name for name, times in self._times.items() if times > 0)

    @contextmanager
    def also(self, names: Iterable[str]) -> Generator[None]:
        added = Counter(iter(names))
        self._times.update(added)
        yield
        self._times.subtract(added)

    @contextmanager
    def without(self, names: Iterable[str]) -> Generator[None]:
        taken = Counter(iter(names))
        self._times.subtract(taken)
        yield
        self._times.update(taken)


def shortened(names: Sequence[str]) -> str:
    """The names, separated by commas; only the first ones if there are many."""
    more = len(names) - _MOST_SHOWN
    return ", ".join(names) if more <= 1 else f"{', '.join(names[:_MOST_SHOWN])} and {more} more"


def _check_node(node: Node, there: _Fields, known: bool, reducers: Mapping[str, str]) -> Iterator[AccessProblem]:
    """Check a node for which the fields `there` are available; `known`: there can be no other fields."""
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
                        f"available fields: {there}"
                    )
                    yield _unwritten_read(node, message)
        case Chain():
            with ExitStack() as added:
                for child in node.children:
                    yield from _check_node(child, there, known, reducers)
                    added.enter_context(there.also(child.access.writes))
                    known = known and child.access.known
        case Group(derived=True):
            in_order = Chain(path=node.path, id=node.id, label=node.label, children=node.children)
            yield from _check_node(in_order, there, known, reducers)
        case Group():
            yield from _check_siblings(node, there, reducers)
            before = waits_of_all(node.after, len(node.children))
            # A read of a sibling's field is reported once, by `_check_siblings`.
            writers: dict[str, int] = {}
            for index, child in enumerate(node.children):
                for name in child.access.writes:
                    writers[name] = writers.get(name, 0) | 1 << index
            with there.also(writers):
                for index, child in enumerate(node.children):
                    with there.without(name for name in child.access.writes if not writers[name] & before[index]):
                        yield from _check_node(child, there, known, reducers)
        case Loop():
            if known and node.over.split(".")[0] not in there and not node.over.startswith("@"):
                yield _unwritten_read(node, f"for_each loops over {node.over!r}, which no earlier step writes")
            with there.also([node.item_name]):
                yield from _check_node(node.body, there, known, reducers)
        case Choice():
            for condition, inner in node.cases:
                yield from _unknown_names(node, _condition(condition), there, known, "cases")
                yield from _check_node(inner, there, known, reducers)
        case Sub():
            for text in _templates(node.parameters):
                yield from _unknown_names(node, text, there, known, "parameters")
            with there.also(node.plan.pipeline.parameters):
                for problem in _check_node(node.plan.root, there, known, reducers):
                    yield problem._replace(path=node.path)
        case FanIn():
            for name in node.inputs:
                if known and name not in there:
                    yield _unwritten_read(node, f"merge_results reads {name!r}, which no earlier step writes")


def _unknown_names(node: Node, template: str, there: _Fields, known: bool, *keys: str) -> Iterator[AccessProblem]:
    """The fields that a condition or template needs but that cannot exist; if not all fields are known, only likely
    typos.
    """
    for name in sorted(required_names(template)) if template else ():
        if name in there or not (known or get_close_matches(name, there.names, n=1, cutoff=0.75)):
            continue
        where = "when" if keys[0] == "cases" else ".".join(keys)
        message = f"{where}: no field named {name!r}{suggest(name, there.names)}"
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


def _check_siblings(group: Group, there: _Fields, reducers: Mapping[str, str]) -> Iterator[AccessProblem]:
    """Yield the reads of a sibling's field, and of each field the writes that are not combined, in declared order."""
    combined = {**reducers, **group.reducers}
    before = waits_of_all(group.after, len(group.children))
    writers: dict[str, list[int]] = {}
    for index, child in enumerate(group.children):
        for name in child.access.writes:
            writers.setdefault(name, []).append(index)
    for later, second in enumerate(group.children):
        found: list[tuple[int, bool, str]] = []
        for name in second.access.reads:
            if name in writers and name not in there:
                found += [(other, False, name) for other in _beside(later, writers[name], before)]
        for name in second.access.writes:
            if name not in combined and len(writers[name]) > 1:
                earlier = itertools.takewhile(lambda other, later=later: other < later, writers[name])
                found += [(other, True, name) for other in _beside(later, earlier, before)]
        for other, both_write, name in sorted(found):
            yield _conflict(second, group.children[other], name, both_write=both_write)


def _beside(index: int, others: Iterable[int], before: Sequence[int]) -> list[int]:
    """The first other branch that may run at the same time; a message about a field needs only one."""
    beside = (
        other
        for other in others
        if other != index and not before[index] >> other & 1 and not before[other] >> index & 1
    )
    return list(itertools.islice(beside, 1))


def _conflict(second: Node, first: Node, name: str, *, both_write: bool) -> AccessProblem:
    if both_write:
        message = (
            f"branches {first.label!r} and {second.label!r} both write {name!r}; declare how to combine "
            f"them, for example `reducers: {{{name}: namespaced}}`, or rename one write"
        )
        return AccessProblem(second.path, "parallel-write", message, True)
    message = (
        f"branch {second.label!r} reads {name!r}, which its sibling {first.label!r} writes; branches do "
        f"not see each other: put one after the other, or declare depends_on: [{first.id}]"
    )
    return AccessProblem(second.path, "reads-sibling", message, True)


def open_reads(plan: Plan) -> tuple[ReadParameter, ...]:
    """The fields that a run must supply besides the pipeline's parameters, in the order in which steps read them.

    `required` is true if a handler has no default for the field; the annotation is that of its readers, if they agree.
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
