"""Checks every value of a run against an independent, sequential evaluation of its plan in declared order.

Handlers are not called again: the trace has their results, and which steps, branches and items succeeded (`oracle.py`
checks these). From docs/failure.md and docs/context.md this module derives the rest: the inputs of each call, the
merged branches, the results of groups, `merge_results` and loops, and the final fields.
"""

import inspect
from collections import ChainMap
from collections.abc import Mapping, Sequence
from typing import Any, cast

from flows.author import (
    BranchResult,
    Outcome,
    Success,
    split_items,
)
from flows.errors import OrchestrationError
from flows.model import StepPath, render
from flows.planning import Chain, Choice, FanIn, Group, Leaf, Loop, Sub, all_before
from flows.state import follow_path, short_repr
from flows.testkit.endings import End, end_text, holds, recorded_end, strategy_result, written
from flows.testkit.evidence import FINE, is_race_group
from flows.testkit.shape import NodeInstance
from flows.testkit.trace import RunTrace, plain_fields, value_mark
from flows.testkit.weaving import Fields, Refused, Unsure, Writes, apply_writes, merge_writes, writes_between

Groups = ChainMap[str, list[BranchResult]]


def wrong_values(trace: RunTrace, root: NodeInstance) -> list[str]:
    """The wrong values of a run, in words; none if the right ones cannot be computed."""
    if trace.plan.budget:
        return []
    reference = _Reference(trace)
    fields = dict(trace.given)
    try:
        reference.end_of(root, fields, Groups())
    except Unsure:
        return reference.complaints
    never = sorted(path for path in trace.calls if path not in reference.reached)
    found = reference.complaints + [f"{path}: was called, though its turn never came" for path in never]
    if not found and trace.result is not None:
        found += _field_differences(fields, plain_fields(trace.result.context))
    return found


def _field_differences(expected: Fields, actual: Fields) -> list[str]:
    return [
        f"the run leaves {name} {_shown(actual, name)}; it must be {_shown(expected, name)}"
        for name in sorted({*expected, *actual}, key=str)
        if (name in expected) != (name in actual) or value_mark(expected[name]) != value_mark(actual[name])
    ]


def _shown(fields: Fields, name: str) -> str:
    return short_repr(fields[name]) if name in fields else "unwritten"


class _Reference:
    """Goes through the declared tree in order and changes the fields as a run must have changed them."""

    def __init__(self, trace: RunTrace) -> None:
        self.trace = trace
        self.outcomes: Mapping[StepPath, Outcome] = {outcome.path: outcome for outcome in trace.outcomes}
        self.finished = {outcome.path: place for place, outcome in enumerate(trace.outcomes)}
        self.reached: set[StepPath] = set()
        self.complaints: list[str] = []

    def complain(self, instance: NodeInstance, text: str) -> None:
        self.complaints.append(f"{instance.path or 'the run'} ({instance.node.label}): {text}")

    def end_of(self, instance: NodeInstance, fields: Fields, groups: Groups) -> End:
        """How an instance that had its turn ended; the fields are changed as it must have changed them."""
        node = instance.node
        outcome = self.outcomes.get(instance.path) if instance.declared else None
        if outcome is None and instance.declared:
            return End("cancelled")  # of a run that was stopped, or reported elsewhere
        runs = self._runs(instance, fields)
        if outcome is not None and outcome.started is None:
            if outcome.status == "skipped" and runs:
                self.complain(instance, "was skipped, though it had its turn and its condition holds")
            return recorded_end(outcome)
        if not runs:
            self.complain(instance, "ran, though it is not enabled or its condition does not hold")
        match node:
            case Leaf():
                end = self._leaf(instance, node, fields)
            case Chain() | Group(derived=True):
                end = self._list(instance, fields, groups)
            case Group():
                end = self._group(instance, node, fields, groups)
            case Loop():
                end = self._loop(instance, node, fields, groups)
            case Choice():
                end = self._choice(instance, node, fields, groups)
            case Sub():
                end = self._sub(instance, node, fields, groups)
            case FanIn():
                end = self._fan_in(instance, node, fields, groups)
        return end if outcome is None else recorded_end(outcome, end.value)

    def _runs(self, instance: NodeInstance, fields: Fields) -> bool:
        if not instance.node.enabled:
            return False
        return instance.node.when is None or holds(instance.node.when, fields) is not False

    def _leaf(self, instance: NodeInstance, leaf: Leaf, fields: Fields) -> End:
        self.reached.add(instance.path)
        call, spec = self.trace.calls.get(instance.path), leaf.spec
        if spec.takes_context or spec.writes is None:
            raise Unsure(f"{spec.name} takes the context")
        if call is None:
            return End("failed")
        expected = [self._input(leaf, read.name, fields) for read in spec.reads or ()]
        for number, seen in enumerate(call.seen, 1):
            for read, mark, value in zip(spec.reads or (), seen, expected, strict=True):
                if mark != value_mark(value):
                    self.complain(instance, f"attempt {number} saw another {read.name} than {short_repr(value)}")
        if not call.returned or self.outcomes[instance.path].status != "succeeded":
            return End("failed")
        value = call.result.value if isinstance(call.result, Success) else call.result
        fields |= written(leaf, value)
        return End("succeeded", value)

    def _input(self, leaf: Leaf, name: str, fields: Fields) -> Any:
        field = leaf.reads[name]
        if field in fields:
            return fields[field]
        return inspect.signature(leaf.spec.function).parameters[name].default

    def _list(self, instance: NodeInstance, fields: Fields, groups: Groups) -> End:
        """A list of steps. If some of them run side by side, it ends as the list would, with the same writes."""
        end = End("succeeded")
        for position, child in enumerate(instance.children):
            end = self.end_of(child, fields, groups)
            if not end.ok:
                if isinstance(instance.node, Group):  # steps after it may have run before it failed
                    aside = dict(fields)
                    for later in instance.children[position + 1 :]:
                        outcome = self.outcomes.get(later.path)
                        if outcome is not None and outcome.started is not None:
                            self.end_of(later, aside, groups)
                return end
        return End("succeeded", end.value)

    def _group(self, instance: NodeInstance, group: Group, fields: Fields, groups: Groups) -> End:
        count = len(group.children)
        ends, writes = [End("skipped")] * count, list[Writes]({} for _ in range(count))
        shares = self._shares(group, fields)
        before = [all_before(group.after, position) for position in range(count)]
        for position in sorted(range(count), key=lambda position: len(before[position])):
            child = instance.children[position]
            if any(not ends[earlier].ok for earlier in before[position]):
                ends[position] = recorded_end(self.outcomes.get(child.path))
                continue
            base = dict(fields)
            for earlier in sorted(before[position]):
                apply_writes(base, writes[earlier])
            if shares is not None and group.split is not None:
                base[group.split.over] = shares[position]
            own = dict(base)
            ends[position] = self.end_of(child, own, groups)
            writes[position] = writes_between(base, own)
        outcome = self.outcomes.get(instance.path)
        if outcome is None or outcome.status == "cancelled":
            return End("cancelled")
        if is_race_group(group):  # of those that succeeded in the same instant, the first declared is the winner
            succeeded = [position for position, end in enumerate(ends) if end.status == "succeeded"]
            for loser in succeeded[1:]:
                ends[loser] = End("skipped")
        groups[group.id] = self._branch_results(instance, ends)
        value, failed = self._concluded(group, ends, writes, fields, groups[group.id])
        if failed == (outcome.status == "succeeded"):
            self.complain(instance, f"is {outcome.status}, but by its policy and results it has {end_text(failed)}")
        return End("failed" if failed else "succeeded", value)

    def _shares(self, group: Group, fields: Fields) -> list[list[Any]] | None:
        if group.split is None:
            return None
        items: Any = follow_path(fields, group.split.over)
        return split_items(group.split.strategy, items, len(group.children), group.split.options)

    def _branch_results(self, instance: NodeInstance, ends: Sequence[End]) -> list[BranchResult]:
        children = instance.children
        won = [i for i, end in enumerate(ends) if end.status == "succeeded"]
        won.sort(key=lambda i: self.finished.get(children[i].path, -1))
        return [
            BranchResult(
                children[i].node.label,
                end.status == "succeeded",
                end.value,
                end.error,
                finished=won.index(i) + 1 if i in won else 0,
            )
            for i, end in enumerate(ends)
            if end.status != "skipped"
        ]

    def _concluded(
        self, group: Group, ends: Sequence[End], writes: Sequence[Writes], fields: Fields, results: list[BranchResult]
    ) -> tuple[Any, bool]:
        """The named result of a group after its merge, and whether the group has failed."""
        succeeded = [i for i, end in enumerate(ends) if end.status == "succeeded"]
        all_fine = all(end.ok for end in ends)
        race = is_race_group(group)
        salvages = group.policy.merge_when_failed == "successful" and not race
        failed = not (
            (bool(succeeded) or not results) if race else group.policy.satisfied(len(succeeded), len(results))
        )
        value, made = None, False
        if group.merge is not None and (salvages or not failed):
            value, made = strategy_result(group.merge, results)
            failed = failed or not made
        merged = succeeded if salvages or (not failed and (all_fine or race)) else []
        before = [all_before(group.after, position) for position in range(len(ends))]
        try:
            merge_writes(
                fields,
                [writes[i] for i in merged],
                group.reducers,
                ordered=lambda first, second: merged[first] in before[merged[second]],
            )
        except Refused:
            return None, True
        if made and group.merge is not None:
            fields[group.merge.output or group.id] = value
        return value, failed

    def _loop(self, instance: NodeInstance, loop: Loop, fields: Fields, groups: Groups) -> End:
        outcome = self.outcomes.get(instance.path)
        if instance.path not in self.trace.sizes:
            return End("failed")
        listed = cast("Sequence[Any]", follow_path(fields, loop.over))
        size = self.trace.batch_sizes[instance.path]
        writes: list[Writes] = []
        collected: list[Fields] = []
        for index, item in enumerate(instance.children):
            base = dict(fields)
            base[loop.item_name] = listed[index] if size is None else tuple(listed[index * size : (index + 1) * size])
            own = dict(base)
            ended = self.outcomes.get(item.path)
            ok = False
            if ended is not None and ended.started is not None:
                self.end_of(item.children[0], own, groups.new_child())
                ok = ended.status in FINE
            elif ended is None:  # of a run that was stopped meanwhile
                self._inside_only(item.children[0], own, groups.new_child())
            collected.append({name: own[name] for name in loop.collect if name in own} if ok else {})
            changed = writes_between(base, own) if ok else {}
            writes.append({name: write for name, write in changed.items() if name in loop.reducers})
        if outcome is None or outcome.status != "succeeded":
            return End("failed")
        try:
            merge_writes(fields, writes, loop.reducers)
        except Refused as field:
            self.complain(instance, f"succeeded, though its items wrote different values to {field}")
        for name, target in loop.collect.items():
            left_out = loop.collect_missing == "leave_out"
            fields[target] = [values.get(name) for values in collected if name in values or not left_out]
        return End("succeeded")

    def _inside_only(self, body: NodeInstance, fields: Fields, groups: Groups) -> None:
        if any(inner.path in self.trace.calls for inner in body.walk()):
            self.end_of(body, fields, groups)

    def _choice(self, instance: NodeInstance, choice: Choice, fields: Fields, groups: Groups) -> End:
        for (condition, _), case in zip(choice.cases, instance.children, strict=True):
            chosen = True if condition is None else holds(condition, fields)
            if chosen is None:
                return End("failed")
            if chosen:
                return self.end_of(case, fields, groups)
        return End("succeeded")

    def _sub(self, instance: NodeInstance, sub: Sub, fields: Fields, groups: Groups) -> End:
        private = dict(fields)
        for name, parameter in sub.plan.pipeline.parameters.items():
            if name not in fields and (parameter.default is not None or not parameter.required):
                private[name] = parameter.default
        try:
            private |= render(dict(sub.parameters), fields)
        except OrchestrationError:
            return End("failed")
        inner = dict(private)
        end = self.end_of(instance.children[0], inner, groups.new_child())
        apply_writes(fields, writes_between(private, inner))
        return end

    def _fan_in(self, instance: NodeInstance, node: FanIn, fields: Fields, groups: Groups) -> End:
        outcome = self.outcomes[instance.path]
        if node.group is None:
            results = [BranchResult(name, True, fields[name]) for name in node.inputs if name in fields]
            known = len(results) == len(node.inputs)
        else:
            known = node.group in groups
            results = groups[node.group] if known else []
        value, made = strategy_result(node.merge, results) if known else (None, False)
        if made != (outcome.status == "succeeded") and outcome.status != "cancelled":
            self.complain(instance, f"is {outcome.status}, but by what it merges it has {end_text(not made)}")
        if made:
            fields[node.merge.output or node.id] = value
        return End("succeeded" if made else "failed", value)
