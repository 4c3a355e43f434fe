"""What the result of every step depends on, as fingerprints: by them a resumed run knows what it may take over.

A step's own fingerprint covers its handler, the handler's version and the options; its lineage covers the same of
everything that comes before it. Limits, policies, retries and timeouts decide whether and when a step runs, never
what it gives, so they are left out: they can be changed before a run is resumed.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, assert_never

from flows.errors import UnsupportedValue
from flows.planning.access import all_before
from flows.planning.plan import Chain, Choice, FanIn, Group, Leaf, Loop, Node, Plan, Sub, node_children
from flows.state.values import fingerprint


@dataclass(frozen=True)
class Definition:
    """Fingerprints of one step: `own`, and `lineage`, its own and those of all that comes before it."""

    own: str
    lineage: str
    published_by: str | None = None
    """Of a step that stages: the one after it, on the same item, that makes it lasting."""


def definitions(plan: Plan, start: str = "") -> Mapping[str, Definition]:
    """The definition of every leaf of a plan by its id; `start` is the fingerprint of what the run begins with."""
    found = _Definitions()
    found.walk(plan.root, start)
    _note_publishers(plan.root, found.by_id)
    return found.by_id


def _note_publishers(node: Node, found: dict[str, Definition]) -> None:
    """Of the steps on one item (loops apart), let those that stage know the next one that publishes."""
    leaves, loops = _on_one_item(node)
    publisher: str | None = None
    for leaf in reversed(leaves):
        if leaf.spec.publishes:
            publisher = leaf.id
        if leaf.spec.stages:
            found[leaf.id] = replace(found[leaf.id], published_by=publisher)
    for loop in loops:
        _note_publishers(loop.body, found)


def _on_one_item(node: Node) -> tuple[list[Leaf], list[Loop]]:
    if isinstance(node, Leaf):
        return [node], []
    if isinstance(node, Loop):
        return [], [node]
    inside = [_on_one_item(child) for child in node_children(node)]
    return [leaf for leaves, _ in inside for leaf in leaves], [loop for _, loops in inside for loop in loops]


@dataclass
class _Definitions:
    by_id: dict[str, Definition] = field(default_factory=dict[str, Definition])

    def walk(self, node: Node, before: str) -> str:
        """Note the leaves in `node`, given the lineage of what comes before it; the lineage of what comes after."""
        before = _marked(before, node.when, node.enabled)
        match node:
            case Leaf():
                own = _marked(
                    node.spec.name, node.spec.version, node.options, node.reads, node.writes, node.when, node.enabled
                )
                lineage = _marked(before, own)
                self.by_id[node.id] = Definition(own, lineage)
                return lineage
            case FanIn():
                return _marked(before, node.source, node.inputs, node.merge.model_dump())
            case Chain():
                for child in node.children:
                    before = self.walk(child, before)
                return before
            case Group():
                return self._group(node, before)
            case Loop():
                inside = _marked(before, node.over, node.item_name, node.batch_size)
                return _marked(self.walk(node.body, inside), node.collect, node.reducers)
            case Choice():
                after = [self.walk(case, _marked(before, condition)) for condition, case in node.cases]
                return _marked(before, after)
            case Sub():
                return self.walk(node.plan.root, _marked(before, node.parameters))
            case _:
                assert_never(node)

    def _group(self, group: Group, before: str) -> str:
        after: list[str] = []
        split = group.split.model_dump() if group.split is not None else None
        for position, child in enumerate(group.children):
            waited_for = [after[earlier] for earlier in sorted(all_before(group.after, position))]
            after.append(self.walk(child, _marked(before, split, position if split else None, waited_for)))
        merge = group.merge.model_dump() if group.merge is not None else None
        return _marked(before, after, merge, group.reducers)


def _marked(*parts: Any) -> str:
    try:
        return fingerprint(parts)
    except UnsupportedValue:  # an option given from Python that is not data
        return fingerprint([repr(part) for part in parts])
