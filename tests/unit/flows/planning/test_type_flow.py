"""Only types that cannot fit in any run are reported."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, Protocol, TypedDict

import pytest

from flows.author import Registry, handler
from flows.model import Pipeline
from flows.planning import make_plan
from flows.planning.type_flow import may_fit


class Chunk:
    pass


class LongChunk(Chunk):
    pass


class Entity:
    pass


class Named(Protocol):
    name: str


class Row(TypedDict):
    id: int


@pytest.mark.parametrize(
    ("held", "wanted"),
    [
        (list[Chunk], Sequence[Chunk]),
        (tuple[Chunk, ...], Sequence[Chunk]),
        (int, float),
        (bool, int),
        (dict[str, int], Mapping[str, Any]),
        (Any, str),
        (str, Any),
        (str | None, str),
        (Chunk, LongChunk),
        (LongChunk, Chunk),
        (Chunk, Named),
        (list[Any], list[str]),
        (list, list[str]),
        (Literal["a"], str),
        (Row, dict[str, Any]),
        (list[str], Iterable[str]),
        (Sequence[Chunk], Iterable[LongChunk]),
        (list[int | str], list[str]),
        (object, str),
    ],
)
def test_what_may_fit(held: Any, wanted: Any) -> None:
    assert may_fit(held, wanted)


@pytest.mark.parametrize(
    ("held", "wanted"),
    [
        (str, list[str]),
        (int, str),
        (dict[str, int], Sequence[int]),
        (list[Chunk], Mapping[str, Chunk]),
        (Chunk, Entity),
        (list[Chunk], Sequence[Entity]),
        (None, str),
        (str | int, list[str] | None),
        (Literal[1], str),
        (Row, list[int]),
        (list[str], list[list[str]]),
        (Chunk, str),
    ],
)
def test_what_cannot_fit(held: Any, wanted: Any) -> None:
    assert not may_fit(held, wanted)


@pytest.fixture
def registry() -> Registry:
    registry = Registry()

    @handler(registry=registry, writes="chunks")
    def split() -> list[str]:
        return []

    @handler(registry=registry, writes="chunks")
    def count() -> int:
        return 0

    @handler(registry=registry, writes="chunks")
    def anything():
        return 0

    @handler(registry=registry, writes="vectors")
    def embed(chunks: Sequence[str]) -> list[float]:
        return []

    @handler(registry=registry, writes="vector")
    def embed_one(chunk: str) -> float:
        return 0.0

    @handler(registry=registry, writes="vector")
    def embed_entity(chunk: Entity) -> float:
        return 0.0

    return registry


def told(registry: Registry, *steps: Any) -> list[str]:
    pipeline = Pipeline.model_validate({"name": "p", "steps": list(steps)})
    warnings = make_plan(pipeline, registry=registry).warnings
    return [warning.message for warning in warnings if warning.code == "type-mismatch"]


@pytest.mark.parametrize(
    "steps",
    [
        ("split", "embed"),
        ("anything", "embed"),
        ("count", "split", "embed"),
        ("count", {"handler": "split", "when": "chunks == 0"}, "embed"),
        ("count", {"handler": "embed", "reads": {"chunks": "others"}}),
        ({"handler": "count", "writes": {"chunks": "number"}}, "split", "embed"),
        ("split", {"for_each": "chunks", "as": "chunk", "steps": ["embed_one"]}),
        ({"parallel": ["count", "split"], "reducers": {"chunks": "namespaced"}}, "embed"),
        ({"switch": [{"when": "1 == 1", "steps": ["count"]}]}, "split", "embed"),
    ],
)
def test_types_that_may_fit_are_not_reported(registry: Registry, steps: tuple[Any, ...]) -> None:
    assert told(registry, *steps) == []


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        (("count", "embed"), "step 1: embed reads 'chunks' as Sequence[str], but count writes int"),
        (
            (["split", "count"], {"parallel": ["embed"]}),
            "step 1.0: embed reads 'chunks' as Sequence[str], but count writes int",
        ),
        (({"parallel": ["count"]}, "embed"), "step 1: embed reads 'chunks' as Sequence[str], but count writes int"),
        (
            ("split", {"for_each": "chunks", "as": "chunk", "steps": ["embed_entity"]}),
            "step 1.0: embed_entity reads 'chunk' as Entity, but split writes str, an item of 'chunks'",
        ),
    ],
)
def test_types_that_cannot_fit_are_reported_with_both_steps(
    registry: Registry, steps: tuple[Any, ...], message: str
) -> None:
    assert told(registry, *steps) == [message]
