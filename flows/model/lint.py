"""What is not wrong with a pipeline but troubles whoever reads it: names that say nothing, nesting that is deep."""

import re
from collections.abc import Iterator
from typing import TypeAlias

from flows.model.steps import Handler, Parallel, Pipeline, Step, child_steps

DEEPEST = 3
_EMPTY_NAME = re.compile(
    r"(?:step|handler|task|job|stage|group|foo|bar|baz|test|tmp|temp|todo|thing|stuff|do|my|h|s|x|unnamed)[_\-]?\d*",
    re.I,
)
Remark: TypeAlias = tuple[str, tuple[str, ...], str, str]
"""The path of a step, the keys of what is meant in it, a code and a message."""


def remarks(pipeline: Pipeline) -> Iterator[Remark]:
    """Everything that could be clearer, in declared order."""
    if _says_nothing(pipeline.name):
        yield "", ("name",), "undescriptive-name", _nothing("pipeline", pipeline.name)
    yield from _remarks(pipeline.steps, "", 0)


def _remarks(steps: tuple[Step, ...], prefix: str, depth: int) -> Iterator[Remark]:
    for index, step in enumerate(steps):
        path = f"{prefix}{index}"
        inside = depth + isinstance(step, Parallel)
        if inside == DEEPEST + 1 and isinstance(step, Parallel):
            message = f"parallel steps are nested more than {DEEPEST} deep here; name the inner ones as a pipeline"
            yield path, (), "deep-nesting", message
        if step.id is not None and _says_nothing(step.id):
            yield path, ("id",), "undescriptive-name", _nothing("id", step.id)
        elif isinstance(step, Handler) and _says_nothing(step.handler):
            yield path, ("handler",), "undescriptive-name", _nothing("handler", step.handler)
        yield from _remarks(child_steps(step), f"{path}.", inside)


def _says_nothing(name: str) -> bool:
    return _EMPTY_NAME.fullmatch(name) is not None


def _nothing(what: str, name: str) -> str:
    return f"the {what} {name!r} says nothing to whoever reads a log; name it for what it does"
