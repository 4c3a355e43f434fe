"""Fingerprints of a plan: of every step, for resuming; and of every outside effect, for skipping work done before.

A step's own fingerprint covers its handler, the handler's version and the options. Its chained fingerprint also covers
every step before it. The fingerprint of an effect covers the handlers that cause it, their versions and options, and
everything that their inputs depend on; a later run with the same fingerprint skips the work. It leaves out the items of
a loop, which are identified by their content.

Limits, policies, retries and timeouts decide whether and when a step runs, never its result. So fingerprints leave them
out, and they may change before a run is resumed.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, assert_never

from flows.errors import OrchestrationError, UnsupportedValue
from flows.model import render, template_names
from flows.planning.plan import Chain, Choice, FanIn, Group, Leaf, Loop, Node, Plan, Sub, node_children
from flows.state import EffectFingerprint, fingerprint


@dataclass(frozen=True)
class StepFingerprint:
    """The fingerprints of one step: its `own`, and the one `chained` with those of all steps before it."""

    own: str
    chained: str
    published_by: str | None = None
    """For a step that stages: the later step, on the same item, that publishes its effects."""


def step_fingerprints(plan: Plan, start: str = "") -> Mapping[str, StepFingerprint]:
    """The fingerprints of every leaf of a plan by its id; `start` is the fingerprint of the run's initial context."""
    found = _StepWalk()
    found.walk(plan.root, start)
    _note_publishers(plan.root, found.by_id)
    return found.by_id


def _note_publishers(node: Node, found: dict[str, StepFingerprint]) -> None:
    """For each step that stages, note the next step on the same item that publishes."""
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
    """The leaves in a node that work on the same item, and the loops in it, whose leaves work on other items."""
    if isinstance(node, Leaf):
        return [node], []
    if isinstance(node, Loop):
        return [], [node]
    inside = [_on_one_item(child) for child in node_children(node)]
    return [leaf for leaves, _ in inside for leaf in leaves], [loop for _, loops in inside for loop in loops]


@dataclass
class _StepWalk:
    by_id: dict[str, StepFingerprint] = field(default_factory=dict[str, StepFingerprint])

    def walk(self, node: Node, before: str) -> str:
        """Note the leaves in a node; takes the chained fingerprint before the node and returns the one after it."""
        before = _parts_fingerprint(before, node.when, node.enabled)
        match node:
            case Leaf():
                own = _parts_fingerprint(
                    node.spec.name, node.spec.version, node.options, node.reads, node.writes, node.when, node.enabled
                )
                chained = _parts_fingerprint(before, own)
                self.by_id[node.id] = StepFingerprint(own, chained)
                return chained
            case FanIn():
                return _parts_fingerprint(before, node.group, node.inputs, node.merge.model_dump())
            case Chain():
                for child in node.children:
                    before = self.walk(child, before)
                return before
            case Group():
                return self._group(node, before)
            case Loop():
                inside = _parts_fingerprint(before, node.over, node.item_name, node.batch_size)
                left_out = ["leave_out"] if node.collect_missing == "leave_out" else []
                return _parts_fingerprint(self.walk(node.body, inside), node.collect, node.reducers, *left_out)
            case Choice():
                after = [self.walk(case, _parts_fingerprint(before, condition)) for condition, case in node.cases]
                return _parts_fingerprint(before, after)
            case Sub():
                return self.walk(node.plan.root, _parts_fingerprint(before, node.parameters))
            case _:
                assert_never(node)

    def _group(self, group: Group, before: str) -> str:
        after: list[str] = []
        split = group.split.model_dump() if group.split is not None else None
        for index, child in enumerate(group.children):
            waited_for = [after[earlier] for earlier in sorted(group.after[index])] if group.after else []
            after.append(self.walk(child, _parts_fingerprint(before, split, index if split else None, waited_for)))
        merge = group.merge.model_dump() if group.merge is not None else None
        return _parts_fingerprint(before, after, merge, group.reducers)


def _parts_fingerprint(*parts: Any) -> str:
    try:
        return fingerprint(parts)
    except UnsupportedValue:  # an option given from Python that is not data
        return fingerprint([repr(part) for part in parts])


def effect_fingerprints(
    plan: Plan, given: Mapping[str, Any], *, apart_from: Collection[str] = ()
) -> dict[str, EffectFingerprint]:
    """A fingerprint for each outside effect, for steps with exactly one effect; `given` are the run's parameters.

    Fields in `apart_from` are left out: those identified by their content, and those that do not affect the result.
    """
    if not any(_only_effect(leaf) for leaf in plan.leaves):
        return {}
    walk = _EffectWalk(frozenset(apart_from))
    walk.walk(plan.root, dict(given), ())
    return walk.effects


def _only_effect(leaf: Leaf) -> str | None:
    return next(iter(leaf.spec.effects)) if leaf.spec.effects is not None and len(leaf.spec.effects) == 1 else None


@dataclass
class _EffectWalk:
    apart_from: frozenset[str]
    fields: dict[str, EffectFingerprint] = field(default_factory=dict[str, EffectFingerprint])
    effects: dict[str, EffectFingerprint] = field(default_factory=dict[str, EffectFingerprint])

    def walk(self, node: Node, given: dict[str, Any], marks: tuple[Any, ...]) -> None:
        if not node.enabled:
            return
        if node.when is not None:
            marks = (*marks, node.when)
        match node:
            case Leaf():
                self._leaf(node, given, marks)
            case FanIn():
                inputs = [node.group] if node.group else list(node.inputs)
                self._write(
                    node.merge.output, self._fingerprint_after(inputs, given, (*marks, node.merge.model_dump()))
                )
            case Chain() | Group():
                for child in node.children:
                    self.walk(child, given, marks)
                if isinstance(node, Group) and node.merge is not None:
                    self._write(
                        node.merge.output, self._fingerprint_after(list(self.fields), given, (node.merge.model_dump(),))
                    )
            case Loop():
                self.fields[node.item_name] = EffectFingerprint()
                self.walk(node.body, given, marks)
            case Choice():
                for condition, case in node.cases:
                    self.walk(case, given, (*marks, condition))
            case Sub():
                self.walk(node.plan.root, {**given, **_rendered_options(node.parameters, given)}, marks)
            case _:
                assert_never(node)

    def _leaf(self, leaf: Leaf, given: dict[str, Any], marks: tuple[Any, ...]) -> None:
        spec = leaf.spec
        reads = sorted(self.fields) if spec.reads is None else list(leaf.reads.values())
        own = (*marks, spec.name, spec.version, _rendered_options(leaf.options, given))
        after = self._fingerprint_after(reads, given, own)
        after = EffectFingerprint(after.fingerprint, after.steps | {spec.name, leaf.id})
        for target in leaf.writes.values():
            self._write(target, after)
        effect = _only_effect(leaf)
        if effect is not None:
            self.effects[effect] = _combined_fingerprint(self.effects.get(effect), after)

    def _fingerprint_after(self, reads: list[str], given: Mapping[str, Any], own: tuple[Any, ...]) -> EffectFingerprint:
        """The fingerprint of a result that depends on the fields that are read and on `own`."""
        inputs: list[Any] = []
        steps = frozenset[str]()
        for name in reads:
            if name in self.apart_from:
                continue
            if name in self.fields:
                inputs.append((name, self.fields[name].fingerprint))
                steps |= self.fields[name].steps
            else:
                inputs.append((name, given.get(name)))
        return EffectFingerprint(_content_hash((own, inputs)), steps)

    def _write(self, target: str | None, written: EffectFingerprint) -> None:
        if target is not None and target not in self.apart_from:
            self.fields[target] = _combined_fingerprint(self.fields.get(target), written)


def _combined_fingerprint(before: EffectFingerprint | None, more: EffectFingerprint) -> EffectFingerprint:
    if before is None:
        return more
    return EffectFingerprint(_content_hash((before.fingerprint, more.fingerprint)), before.steps | more.steps)


def _rendered_options(options: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The options with the templates rendered that need only parameters of the run."""
    found: dict[str, Any] = {}
    for name, value in options.items():
        names = template_names(value)
        if names and names <= given.keys():
            try:
                found[name] = render(value, given)
                continue
            except OrchestrationError:
                pass
        found[name] = value
    return found


def _content_hash(value: Any) -> str:
    try:
        return fingerprint(value)[:16]
    except UnsupportedValue:  # an option given from Python that is not data
        return fingerprint(repr(value))[:16]
