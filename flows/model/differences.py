"""What differs between two pipelines: steps added, removed, moved or changed, each change at its key."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, cast

from flows.model.steps import Case, Handler, Pipeline, Step, SubPipeline, Switch, child_steps

_INNER = ("branches", "steps", "cases", "default")


@dataclass(frozen=True)
class Difference:
    """One thing that is not the same; `before` and `after` are plain data, None where there is nothing."""

    kind: Literal["added", "removed", "moved", "changed"]
    step: str
    """How the step is known: its id, else its handler or kind; '' is the pipeline."""
    path: str
    """Where it stands: in the second pipeline, or, if it was removed, in the first."""
    key: str = ""
    before: Any = None
    after: Any = None

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
                return f"~ {where}: {self.key}: {_shown(self.before)} -> {_shown(self.after)}"

    def data(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)


@dataclass(frozen=True)
class _Placed:
    name: str
    path: str
    parent: str
    """The name of the step around."""
    step: Step


def pipeline_differences(first: Pipeline, second: Pipeline) -> list[Difference]:
    """What to do to the first to get the second: the pipeline's own keys, then its steps in the order of the second.

    Steps are the same if they have the same id; without one, if they do the same in the same place, counted from the
    front. A step within one that was added or removed is not named again.
    """
    before, after = _placed(first), _placed(second)
    found = list(_changes("", "", _fields(first), _fields(second)))
    for key, there in after.items():
        here = before.get(key)
        if here is None:
            if there.parent in before or not there.parent:
                found.append(Difference("added", there.name, there.path))
            continue
        if here.parent != there.parent or key in _out_of_order(before, after):
            found.append(Difference("moved", there.name, there.path, before=here.path, after=there.path))
        found.extend(_changes(there.name, there.path, _fields(here.step), _fields(there.step)))
    for key, here in before.items():
        if key not in after and (here.parent in after or not here.parent):
            found.append(Difference("removed", here.name, here.path))
    return found


def _placed(pipeline: Pipeline) -> dict[str, _Placed]:
    """The steps of a pipeline under what identifies them."""
    placed: dict[str, _Placed] = {}

    def add(steps: Sequence[Step], prefix: str, parent: str) -> None:
        counted: dict[str, int] = {}
        for index, step in enumerate(steps):
            name = _name(step)
            counted[name] = counted.get(name, 0) + 1
            key = f"#{step.id}" if step.id else f"{parent}/{name}[{counted[name]}]"
            placed[key] = _Placed(name, f"{prefix}{index}", parent, step)
            add(child_steps(step), f"{prefix}{index}.", key)

    add(pipeline.steps, "", "")
    return placed


def _name(step: Step) -> str:
    if step.id:
        return step.id
    if isinstance(step, Handler):
        return step.handler
    return step.pipeline if isinstance(step, SubPipeline) else step.type


def _out_of_order(before: Mapping[str, _Placed], after: Mapping[str, _Placed]) -> set[str]:
    """The steps that have to move for the rest to be in the order of `after`, as few as can be."""
    moved: set[str] = set()
    for parent in {placed.parent for placed in after.values()}:
        here = [key for key, placed in before.items() if placed.parent == parent]
        there = [key for key, placed in after.items() if placed.parent == parent and key in here]
        moved |= set(there) - set(_longest_in_order([here.index(key) for key in there], there))
    return moved


def _longest_in_order(positions: Sequence[int], names: Sequence[str]) -> list[str]:
    best: list[list[int]] = []
    for index, position in enumerate(positions):
        reached = [chain for chain in best if positions[chain[-1]] < position]
        best.append([*max(reached, key=len, default=list[int]()), index])
    return [names[index] for index in max(best, key=len, default=list[int]())]


def _fields(model: Pipeline | Step) -> dict[str, Any]:
    """The keys of a pipeline or step, without the steps inside; the conditions of a switch count as its own."""
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


def _shown(value: Any) -> str:
    return "nothing" if value is None else str(value) if not isinstance(value, str) else repr(value)
