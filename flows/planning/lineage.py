"""What everything that a pipeline changes outside rests on: by it, a later run knows what need not be made again.

The lineage of an effect covers the handlers that bring it about, their versions and options, and everything that
made what they read; not the items of a loop, which are known by their content. What decides only whether and when a
step runs (limits, policies, retries) is left out.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, assert_never

from flows.errors import OrchestrationError, UnsupportedValue
from flows.model.expressions import render, template_names
from flows.planning.plan import Chain, Choice, FanIn, Group, Leaf, Loop, Node, Plan, Sub
from flows.state.context import Lineage
from flows.state.values import fingerprint


def effect_lineages(plan: Plan, given: Mapping[str, Any], *, apart_from: Collection[str] = ()) -> dict[str, Lineage]:
    """The lineage of every effect that some step has as its only one; `given` are the parameters of the run.

    Fields in `apart_from` count for nothing: what is known by its content, and what only says how to go about it.
    """
    walk = _Walk(frozenset(apart_from))
    walk.walk(plan.root, dict(given), ())
    return walk.effects


@dataclass
class _Walk:
    apart_from: frozenset[str]
    fields: dict[str, Lineage] = field(default_factory=dict[str, Lineage])
    effects: dict[str, Lineage] = field(default_factory=dict[str, Lineage])

    def walk(self, node: Node, given: dict[str, Any], marks: tuple[Any, ...]) -> None:
        if not node.enabled:
            return
        if node.when is not None:
            marks = (*marks, node.when)
        match node:
            case Leaf():
                self._leaf(node, given, marks)
            case FanIn():
                sources = [node.source] if node.source else list(node.inputs)
                self._write(node.merge.output, self._made(sources, given, (*marks, node.merge.model_dump())))
            case Chain() | Group():
                for child in node.children:
                    self.walk(child, given, marks)
                if isinstance(node, Group) and node.merge is not None:
                    self._write(node.merge.output, self._made(list(self.fields), given, (node.merge.model_dump(),)))
            case Loop():
                self.fields[node.item_name] = Lineage()
                self.walk(node.body, given, marks)
            case Choice():
                for condition, case in node.cases:
                    self.walk(case, given, (*marks, condition))
            case Sub():
                self.walk(node.plan.root, {**given, **_rendered(node.parameters, given)}, marks)
            case _:
                assert_never(node)

    def _leaf(self, leaf: Leaf, given: dict[str, Any], marks: tuple[Any, ...]) -> None:
        spec = leaf.spec
        reads = sorted(self.fields) if spec.reads is None else list(leaf.reads.values())
        own = (*marks, spec.name, spec.version, _rendered(leaf.options, given))
        made = self._made(reads, given, own)
        made = Lineage(made.fingerprint, made.steps | {spec.name, leaf.id})
        for target in leaf.writes.values():
            self._write(target, made)
        if spec.effects is not None and len(spec.effects) == 1:
            (effect,) = spec.effects
            self.effects[effect] = _both(self.effects.get(effect), made)

    def _made(self, reads: list[str], given: Mapping[str, Any], own: tuple[Any, ...]) -> Lineage:
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
        return Lineage(_hash((own, inputs)), steps)

    def _write(self, target: str | None, made: Lineage) -> None:
        if target is not None and target not in self.apart_from:
            self.fields[target] = _both(self.fields.get(target), made)


def _both(before: Lineage | None, made: Lineage) -> Lineage:
    if before is None:
        return made
    return Lineage(_hash((before.fingerprint, made.fingerprint)), before.steps | made.steps)


def _rendered(options: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The options as far as they are known before the run: what comes from a parameter counts with its value."""
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


def _hash(value: Any) -> str:
    try:
        return fingerprint(value)[:16]
    except UnsupportedValue:  # an option given from Python that is not data
        return fingerprint(repr(value))[:16]
