"""Which dialect a document is written in, told by its content: the one place that knows that there are several."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from flows.loaders import chains, data_steps, hpd, stages
from flows.loaders.foreign import Notes
from flows.loaders.positions import Node

_LISTS = ("steps", "Steps", "parallel_steps", "stages", "jobs", "branches", "parallel", "switch", "cases", "default")
_INNER = ("loop", "parallel", "switch", "for_each", "ParallelStep", "SequentialStep", "step_template")
_NATIVE = ("handler", "parallel", "branches", "for_each", "switch", "cases", "merge_results", "pipeline")


@dataclass(frozen=True)
class Dialect:
    """A foreign way to write pipelines."""

    name: str
    signs: Callable[[Node], int]
    translate: Callable[[Node, Notes, str], Node]


DIALECTS = (
    Dialect("hpd", hpd.signs, hpd.translate),
    Dialect("chain", chains.signs, chains.translate),
    Dialect("data", data_steps.signs, data_steps.translate),
    Dialect("stages", stages.signs, stages.translate),
)


def recognise(root: Node) -> Dialect | None:
    """The dialect that most in a document speaks for; None if that is Braid's own."""
    mappings = list(_mappings(root))
    scores = {dialect.name: sum(map(dialect.signs, mappings)) for dialect in DIALECTS}
    own = sum(1 for node in mappings if node is not root for key in _NATIVE if key in (node.entries or {}))
    best = max(DIALECTS, key=lambda dialect: scores[dialect.name])
    return best if scores[best.name] > own else None


def _mappings(node: Node) -> Iterator[Node]:
    """The mappings that may be a pipeline, its steps and what belongs to a step; never a step's own data."""
    if node.items is not None:
        for item in node.items:
            yield from _mappings(item)
    if node.entries is None:
        return
    yield node
    for key, value in node.entries.items():
        if key in _LISTS or (key in _INNER and value.entries is not None):
            yield from _mappings(value)
        elif key == "params" and "parallel_steps" in (value.entries or {}):
            yield from _mappings((value.entries or {})["parallel_steps"])
