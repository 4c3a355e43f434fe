"""A pipeline in a few lines of Python: each call adds a step, `build()` checks everything and gives the frozen value.

    PipelineBuilder("hybrid_rag").add("extract_text").parallel("embed", ["find_entities", "link"]).add("store").build()

The sources' spellings map onto this one: `AddSequential(name)` and `AddStep(name)` are `add(name)`;
`AddParallel("a", "b")` and `AddParallelStep("a", "b")` are `parallel("a", "b")`; `AddParallel(group => group.Add("a"))`
is `parallel(lambda group: group.add("a"))`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self, TypeAlias

from flows.errors import InvalidPipeline, Problem
from flows.loaders.native import check_pipeline
from flows.loaders.yaml_nodes import YamlNode, node_of
from flows.loaders.yaml_steps import steps_in
from flows.model import Pipeline, Step

StepLike: TypeAlias = "str | Step | Mapping[str, Any] | Sequence[StepLike]"
"""A handler's name, a step, a step as YAML would have it, or a list of these (they run in order)."""
Within: TypeAlias = "Sequence[StepLike] | Callable[[StepsBuilder], object]"
"""The steps inside a step: a list, or a function that adds them to the builder it is given."""


class StepsBuilder:
    """Steps in order; every method adds one and returns the builder."""

    def __init__(self) -> None:
        self.steps: list[Any] = []

    def add(self, step: StepLike, /, **fields: Any) -> Self:
        """Add a step; with `fields` (options, reads, writes, retry, when, …) `step` is the name of a handler."""
        if fields and not isinstance(step, str):
            raise TypeError("fields can be given to a handler's name only; a step that is complete has its own")
        return self._add({"handler": step, **fields} if fields else step)

    def parallel(self, *branches: "StepLike | Callable[[StepsBuilder], object]", **fields: Any) -> Self:
        """Add branches that run at the same time; a list is a branch of several steps.

        A function gets a builder, and every step that it adds there is a branch. `fields` are those of
        `flows.model.steps.Parallel`: `max_concurrency`, `policy`, `merge`, `split`, `reducers`, `id`, …
        """
        inner = [step for branch in branches for step in (_within(branch) if callable(branch) else [branch])]
        return self._add({"type": "parallel", "branches": inner, **fields})

    def for_each(self, over: str, /, steps: Within, **fields: Any) -> Self:
        """Add steps that run for every item, or every batch of `batch_size` items, of the list in the field `over`."""
        return self._add({"type": "for_each", "over": over, "steps": _within(steps), **fields})

    def switch(self, *cases: tuple[str, Within], default: Within = (), **fields: Any) -> Self:
        """Add a choice: `cases` are pairs of a condition and steps, `default` runs when no condition holds."""
        listed = [{"when": when, "steps": _within(steps)} for when, steps in cases]
        return self._add({"type": "switch", "cases": listed, "default": _within(default), **fields})

    def merge_results(self, source: str | None = None, /, **fields: Any) -> Self:
        """Add the fan-in of the group with the id `source`, or of the fields `inputs`."""
        return self._add({"type": "merge_results", **({"from": source} if source is not None else {}), **fields})

    def pipeline(self, name: str, /, **fields: Any) -> Self:
        """Add another pipeline of the catalog as one step; `parameters` are its values."""
        return self._add({"type": "pipeline", "pipeline": name, **fields})

    def _add(self, step: Any) -> Self:
        self.steps.append(step)
        return self


class PipelineBuilder(StepsBuilder):
    """A pipeline in the making; `fields` are those of `flows.model.steps.Pipeline`."""

    def __init__(self, name: str, **fields: Any) -> None:
        super().__init__()
        self.name, self.fields = name, fields

    def build(self) -> Pipeline:
        """The pipeline.

        Raises:
            InvalidPipeline: everything that is wrong, each with the place of its step (`step 1.2`).
        """
        root = node_of({"name": self.name, **self.fields, "steps": self.steps})
        paths = _numbered(root)
        pipeline, problems = check_pipeline(root, file="")
        if problems or pipeline is None:
            raise InvalidPipeline(self._placed(problem, paths) for problem in problems)
        return pipeline

    def _placed(self, problem: Problem, paths: Mapping[int, str]) -> Problem:
        step = f", step {paths[problem.line]}" if problem.line in paths else ""
        return Problem(f"pipeline {self.name!r}{step}", 0, 0, problem.code, problem.message)


def _numbered(root: YamlNode) -> dict[int, str]:
    """Mark every value with the number of the step it belongs to, as if that were its line; the number's step."""
    paths: dict[int, str] = {}
    for number, step in enumerate(steps_in(root), start=1):
        paths[number] = step.path
        _mark(step.node, number)
    return paths


def _mark(node: YamlNode, number: int) -> None:
    node.line = number
    for child in (*(node.entries or {}).values(), *(node.items or ())):
        _mark(child, number)


def _within(steps: Any) -> list[Any]:
    if isinstance(steps, str):
        return [steps]
    if not callable(steps):
        return list(steps)
    builder = StepsBuilder()
    steps(builder)
    return builder.steps
