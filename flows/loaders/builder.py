"""A pipeline in a few lines of Python: as one expression, or with a builder; both check everything.

    pipeline("hybrid_rag", "extract_text", parallel("embed", ["find_entities", "link"]), "store")
    PipelineBuilder("hybrid_rag").add("extract_text").parallel("embed", ["find_entities", "link"]).add("store").build()

Wherever a handler's name is accepted, its function is accepted too.
The sources' spellings map onto this one: `AddSequential(name)` and `AddStep(name)` are `add(name)`;
`AddParallel("a", "b")` and `AddParallelStep("a", "b")` are `parallel("a", "b")`; `AddParallel(group => group.Add("a"))`
is `parallel(lambda group: group.add("a"))`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self, TypeAlias, cast

from flows.errors import InvalidHandler, InvalidPipeline, Problem
from flows.loaders.native import check_pipeline
from flows.loaders.yaml_nodes import YamlNode, node_of
from flows.loaders.yaml_steps import steps_in
from flows.model import Parallel, Pipeline, Step, handler_name

StepLike: TypeAlias = "str | Callable[..., Any] | Step | Mapping[str, Any] | Sequence[StepLike]"
"""A handler (its function or name), a step, the mapping of a step as in YAML, or a list of these that runs in order."""
Within: TypeAlias = "Sequence[StepLike] | Callable[[StepsBuilder], object] | Callable[..., Any]"
"""The steps inside a step: a list, one handler, or a function that receives a builder and adds them."""


def pipeline(name: str, /, *steps: StepLike, **fields: Any) -> Pipeline:
    """A pipeline of these steps, in order; `fields` are those of a pipeline: `parameters`, `max_concurrency`, …

    Raises:
        InvalidHandler: a function among the steps is no handler.
        InvalidPipeline: everything that is wrong, each with the place of its step (`step 1.2`).
    """
    builder = PipelineBuilder(name, **fields)
    for step in steps:
        builder.add(step)
    return builder.build()


def parallel(*branches: StepLike, **fields: Any) -> Parallel:
    """A step whose branches run at the same time; a list is a branch of several steps.

    `fields` are those of a parallel step: `max_concurrency`, `policy`, `merge`, `split`, `reducers`, `id`, …

    Raises:
        InvalidHandler: a function among the branches is no handler.
        InvalidPipeline: everything that is wrong, each with the place of its branch.
    """
    steps = [{"type": "parallel", "branches": _with_handler_names(branches), **fields}]
    root = node_of({"name": "parallel", "steps": steps})
    (step,) = _checked_pipeline(
        root, lambda path: f"parallel(…), branch {path[2:]}" if path[2:] else "parallel(…)"
    ).steps
    return cast("Parallel", step)


class StepsBuilder:
    """Steps in order; every method adds one and returns the builder."""

    def __init__(self) -> None:
        self.steps: list[Any] = []

    def add(self, step: StepLike, /, **fields: Any) -> Self:
        """Add a step; with `fields` (options, reads, writes, retry, when, …) `step` is a handler or its name."""
        name = _with_handler_names(step)
        if fields and not isinstance(name, str):
            raise TypeError(
                "keyword arguments are for handlers only; set the fields of a complete step in the step itself"
            )
        return self._add({"handler": name, **fields} if fields else name)

    def parallel(self, *branches: "StepLike | Callable[[StepsBuilder], object]", **fields: Any) -> Self:
        """Add branches that run at the same time; a list is a branch of several steps.

        A function that is no handler gets a builder, and every step that it adds there is a branch. `fields` are those
        of a parallel step: `max_concurrency`, `policy`, `merge`, `split`, `reducers`, `id`, …
        """
        inner = [step for branch in branches for step in (_steps_from(branch) if callable(branch) else [branch])]
        return self._add({"type": "parallel", "branches": _with_handler_names(inner), **fields})

    def for_each(self, over: str, /, steps: Within, **fields: Any) -> Self:
        """Add steps that run for every item, or every batch of `batch_size` items, of the list in the field `over`."""
        return self._add({"type": "for_each", "over": over, "steps": _steps_from(steps), **fields})

    def switch(self, *cases: tuple[str, Within], default: Within = (), **fields: Any) -> Self:
        """Add a choice: `cases` are pairs of a condition and steps, `default` runs when no condition holds."""
        listed = [{"when": when, "steps": _steps_from(steps)} for when, steps in cases]
        return self._add({"type": "switch", "cases": listed, "default": _steps_from(default), **fields})

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
    """A builder of a pipeline; `fields` are those of `flows.model.steps.Pipeline`."""

    def __init__(self, name: str, **fields: Any) -> None:
        super().__init__()
        if "steps" in fields:
            raise TypeError("add the steps one by one, or give them after the name: pipeline(name, *steps)")
        self.name, self.fields = name, fields

    def build(self) -> Pipeline:
        """The pipeline.

        Raises:
            InvalidPipeline: everything that is wrong, each with the place of its step (`step 1.2`).
        """
        root = node_of({"name": self.name, **self.fields, "steps": self.steps})
        return _checked_pipeline(root, lambda path: f"pipeline {self.name!r}" + (f", step {path}" if path else ""))


def _checked_pipeline(root: YamlNode, where: Callable[[str], str]) -> Pipeline:
    """The pipeline that `root` describes; `where` turns the path of a step (or an empty path) into words."""
    paths = _number_steps(root)
    made, problems = check_pipeline(root, file="")
    if problems or made is None:
        raise InvalidPipeline(
            Problem(where(paths.get(problem.line, "")), 0, 0, problem.code, problem.message) for problem in problems
        )
    return made


def _with_handler_names(steps: Any) -> Any:
    """The same steps, with each handler's function replaced by its name.

    Raises:
        InvalidHandler: a function in the place of a step is no handler.
    """
    if isinstance(steps, (list, tuple)):
        return [_with_handler_names(step) for step in cast("Sequence[Any]", steps)]
    if isinstance(steps, Mapping):
        step = cast("Mapping[Any, Any]", steps)
        return {
            key: value if key in ("options", "parameters") else _with_handler_names(value)
            for key, value in step.items()
        }
    if not callable(steps):
        return steps
    name = handler_name(steps)
    if name is None:
        raise InvalidHandler(
            f"{_function_name(steps)} is not a handler and cannot be a step; put @handler above its definition"
        )
    return name


def _number_steps(root: YamlNode) -> dict[int, str]:
    """Give every value the number of its step as its line number; return the path of the step of each number."""
    paths: dict[int, str] = {}
    for number, step in enumerate(steps_in(root), start=1):
        paths[number] = step.path
        _number_node(step.node, number)
    return paths


def _number_node(node: YamlNode, number: int) -> None:
    node.line = number
    for child in (*(node.entries or {}).values(), *(node.items or ())):
        _number_node(child, number)


def _steps_from(steps: Any) -> list[Any]:
    if isinstance(steps, str) or (callable(steps) and handler_name(steps) is not None):
        return [_with_handler_names(steps)]
    if not callable(steps):
        return cast("list[Any]", _with_handler_names(list(steps)))
    builder = StepsBuilder()
    steps(builder)
    if not builder.steps:
        raise InvalidHandler(
            f"{_function_name(steps)} added no steps to its builder; "
            "if it is a handler, put @handler above its definition"
        )
    return builder.steps


def _function_name(function: Callable[..., Any]) -> str:
    return str(getattr(function, "__qualname__", function)).rpartition("<locals>.")[2]
