"""How two pipelines differ: steps added, removed, moved or changed, each change at its key."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, cast

from flows.model.secrecy import LEFT_OUT, hide_secrets_in, is_secret_name
from flows.model.steps import Case, Handler, Pipeline, Step, SubPipeline, Switch, child_steps

_INNER = ("branches", "steps", "cases", "default")


@dataclass(frozen=True)
class Difference:
    """One difference; `before` and `after` are plain data, None where there is no value."""

    kind: Literal["added", "removed", "moved", "changed"]
    step: str
    """The step's id, else its handler or type; '' is the pipeline."""
    path: str
    """The step's path in the second pipeline; of a removed step, its path in the first."""
    key: str = ""
    before: Any = None
    after: Any = None

    def __post_init__(self) -> None:
        for name in ("before", "after"):
            value = getattr(self, name)
            secret = value is not None and is_secret_name(self.key.rpartition(".")[2])
            object.__setattr__(self, name, LEFT_OUT if secret else hide_secrets_in(value))

    def __str__(self) -> str:
        where = f"{self.step} ({self.path})" if self.step else "pipeline"
        match self.kind:
            case "added":
                return f"+ {where}"
            case "removed":
                return f"- {where}"
            case "moved":
                return f"> {where}: moved from {self.before} to {self.after}"
            case "changed":
                return f"~ {where}: {self.key}: {_value_text(self.before)} -> {_value_text(self.after)}"

    def data(self) -> dict[str, Any]:
        """The difference as plain data."""
        return asdict(self)


@dataclass(frozen=True)
class _StepInTree:
    name: str
    path: str
    parent: str
    """The key of the enclosing step; empty at the top."""
    step: Step


def pipeline_differences(first: Pipeline, second: Pipeline) -> list[Difference]:
    """The changes that lead from the first pipeline to the second: its own keys, then its steps in the second's order.

    Steps are the same if they have the same id. Without ids, steps of the same name in the same enclosing step are
    matched in order. Steps inside an added or removed step are not listed.
    """
    before, after = _steps_by_key(first), _steps_by_key(second)
    found = list(_changes("", "", _fields_without_steps(first), _fields_without_steps(second)))
    for key, there in after.items():
        here = before.get(key)
        if here is None:
            if there.parent in before or not there.parent:
                found.append(Difference("added", there.name, there.path))
            continue
        if here.parent != there.parent or key in _out_of_order(before, after):
            found.append(Difference("moved", there.name, there.path, before=here.path, after=there.path))
        found.extend(
            _changes(there.name, there.path, _fields_without_steps(here.step), _fields_without_steps(there.step))
        )
    for key, here in before.items():
        if key not in after and (here.parent in after or not here.parent):
            found.append(Difference("removed", here.name, here.path))
    return found


def _steps_by_key(pipeline: Pipeline) -> dict[str, _StepInTree]:
    """The steps of a pipeline, each under a key that identifies it in both pipelines."""
    found: dict[str, _StepInTree] = {}

    def add(steps: Sequence[Step], prefix: str, parent: str) -> None:
        counted: dict[str, int] = {}
        for index, step in enumerate(steps):
            name = _step_name(step)
            counted[name] = counted.get(name, 0) + 1
            key = f"#{step.id}" if step.id else f"{parent}/{name}[{counted[name]}]"
            found[key] = _StepInTree(name, f"{prefix}{index}", parent, step)
            add(child_steps(step), f"{prefix}{index}.", key)

    add(pipeline.steps, "", "")
    return found


def _step_name(step: Step) -> str:
    if step.id:
        return step.id
    if isinstance(step, Handler):
        return step.handler
    return step.pipeline if isinstance(step, SubPipeline) else step.type


def _out_of_order(before: Mapping[str, _StepInTree], after: Mapping[str, _StepInTree]) -> set[str]:
    """The fewest steps that have to move so that the others are in the order of `after`."""
    moved: set[str] = set()
    for parent in {step.parent for step in after.values()}:
        here = [key for key, step in before.items() if step.parent == parent]
        there = [key for key, step in after.items() if step.parent == parent and key in here]
        moved |= set(there) - set(_longest_in_order([here.index(key) for key in there], there))
    return moved


def _longest_in_order(ranks: Sequence[int], names: Sequence[str]) -> list[str]:
    """The longest selection of names whose ranks ascend."""
    best: list[list[int]] = []
    for index, rank in enumerate(ranks):
        reached = [found for found in best if ranks[found[-1]] < rank]
        best.append([*max(reached, key=len, default=list[int]()), index])
    return [names[index] for index in max(best, key=len, default=list[int]())]


def _fields_without_steps(model: Pipeline | Step) -> dict[str, Any]:
    """The fields of a pipeline or step without its inner steps; the conditions of a switch are among its fields."""
    data = model.model_dump(mode="json", by_alias=True, exclude={*_INNER, "type"})
    if isinstance(model, Switch):
        data["when of cases"] = [case.when for case in cast("Sequence[Case]", model.cases)]
    return data


def _changes(step: str, path: str, before: Any, after: Any, key: str = "") -> Iterator[Difference]:
    if isinstance(before, dict) and isinstance(after, dict):
        first, second = cast("dict[str, Any]", before), cast("dict[str, Any]", after)
        for name in dict.fromkeys([*first, *second]):
            yield from _changes(step, path, first.get(name), second.get(name), f"{key}.{name}" if key else name)
    elif before != after:
        yield Difference("changed", step, path, key, before, after)


def _value_text(value: Any) -> str:
    return "nothing" if value is None else str(value) if not isinstance(value, str) else repr(value)
