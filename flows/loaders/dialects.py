"""Recognises the dialect of a document by its content; no other module knows that there are several."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from flows.loaders import chains, data_steps, hpd, stages
from flows.loaders.foreign import Translation
from flows.loaders.yaml_nodes import YamlNode
from flows.model import KIND_BY_KEY

_LISTS = ("steps", "Steps", "parallel_steps", "stages", "jobs", "branches", "parallel", "switch", "cases", "default")
_INNER = ("loop", "parallel", "switch", "for_each", "ParallelStep", "SequentialStep", "step_template")
_NATIVE = tuple(key for key in KIND_BY_KEY if key != "steps")


@dataclass(frozen=True)
class Dialect:
    """A foreign way to write pipelines: how to recognise it, and how to translate it into native YAML."""

    name: str
    signs: Callable[[YamlNode], int]
    translate: Callable[[YamlNode, Translation, str], YamlNode]


DIALECTS = (
    Dialect("hpd", hpd.signs, hpd.translate),
    Dialect("chain", chains.signs, chains.translate),
    Dialect("data", data_steps.signs, data_steps.translate),
    Dialect("stages", stages.signs, stages.translate),
)


def recognise(root: YamlNode) -> Dialect | None:
    """The dialect with the most signs in a document; None if it is Braid's own."""
    mappings = list(_mappings(root))
    scores = {dialect.name: sum(map(dialect.signs, mappings)) for dialect in DIALECTS}
    own = sum(1 for node in mappings if node is not root for key in _NATIVE if key in (node.entries or {}))
    best = max(DIALECTS, key=lambda dialect: scores[dialect.name])
    return best if scores[best.name] > own else None


def _mappings(node: YamlNode) -> Iterator[YamlNode]:
    """Yield the mappings that may be a pipeline, a step or a part of a step, but never the data of a step."""
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
