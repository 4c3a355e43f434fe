"""Remarks on pipelines that are correct but hard to read: names without meaning, deep nesting."""

import re
from collections.abc import Iterator
from typing import TypeAlias

from flows.model.steps import Handler, Parallel, Pipeline, Step, child_steps

MAX_PARALLEL_DEPTH = 3
_UNDESCRIPTIVE = re.compile(
    r"(?:step|handler|task|job|stage|group|foo|bar|baz|test|tmp|temp|todo|thing|stuff|do|my|h|s|x|unnamed)[_\-]?\d*",
    re.I,
)
Remark: TypeAlias = tuple[str, tuple[str, ...], str, str]
"""The path of a step, the keys in it that the remark is about, a code and a message."""


def remarks(pipeline: Pipeline) -> Iterator[Remark]:
    """Yield remarks on parts of a pipeline that could be clearer, in declared order."""
    if _is_undescriptive(pipeline.name):
        yield "", ("name",), "undescriptive-name", _undescriptive_remark("pipeline", pipeline.name)
    for name in pipeline.outputs or ():
        if _is_undescriptive(name):
            yield "", ("outputs", name), "undescriptive-name", _undescriptive_remark("output", name)
    yield from _step_remarks(pipeline.steps, "", 0)


def _step_remarks(steps: tuple[Step, ...], prefix: str, depth: int) -> Iterator[Remark]:
    for index, step in enumerate(steps):
        path = f"{prefix}{index}"
        inside = depth + isinstance(step, Parallel)
        if inside == MAX_PARALLEL_DEPTH + 1 and isinstance(step, Parallel):
            message = (
                f"parallel steps are nested more than {MAX_PARALLEL_DEPTH} deep here; name the inner ones as a pipeline"
            )
            yield path, (), "deep-nesting", message
        if step.id is not None and _is_undescriptive(step.id):
            yield path, ("id",), "undescriptive-name", _undescriptive_remark("id", step.id)
        elif isinstance(step, Handler) and _is_undescriptive(step.handler):
            yield path, ("handler",), "undescriptive-name", _undescriptive_remark("handler", step.handler)
        yield from _step_remarks(child_steps(step), f"{path}.", inside)


def _is_undescriptive(name: str) -> bool:
    return _UNDESCRIPTIVE.fullmatch(name) is not None


def _undescriptive_remark(kind: str, name: str) -> str:
    return f"the {kind} {name!r} means nothing to the reader of a log; name it after its task"
