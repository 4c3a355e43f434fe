"""Braid: by direct calls, recorded, on Prefect, and recorded on Prefect."""

from collections.abc import Mapping, Sequence
from typing import Any

from bench.peers import work
from bench.peers.work import Case, Row

BATCH = 2
"""Documents per batch where the size is not left to Braid, so that ten batches are under way at once."""


def case(row: Row, folder: str, *, engine: str, recorded: bool, batch: str) -> Case:
    from flows import run
    from flows.author import Registry

    if engine == "prefect":  # imports are no part of any row
        import flows.translator
    if recorded:
        import sqlalchemy.dialects.sqlite  # noqa: F401

        import flows.run_store  # noqa: F401
    registry = Registry()
    pipeline, given = _pipeline(row, registry, folder, batch)
    store = f"sqlite:///{folder}/braid.db" if recorded else None

    def once() -> None:
        result = run(pipeline, given, engine=engine, store=store, registry=registry)  # type: ignore[arg-type]
        assert result.status == "succeeded", result.outcomes

    return once


def _pipeline(row: Row, registry: Any, folder: str, batch: str) -> tuple[Any, Mapping[str, Any]]:
    from flows.model import Pipeline

    def made(steps: Sequence[Any], **more: Any) -> Pipeline:
        return Pipeline.model_validate({"name": row.name, "steps": steps, "max_concurrency": work.AT_ONCE, **more})

    match row.name:
        case "paper":
            return made(_paper(registry)), {"source": "paper.pdf"}
        case "documents" | "many":
            sizes: dict[str, Any] = {"one": {}, "batched": {"batch_size": BATCH}, "auto": {"batch_size": "auto"}}
            body = _documents(registry, batched=batch != "one")
            loop = {"for_each": {"over": "documents", "as": "document", "steps": body, **sizes[batch]}}
            return made([loop]), {"documents": list(range(row.items))}
        case "nothing":
            body = [_nothing(registry)]
            return made([{"for_each": {"over": "numbers", "as": "number", "steps": body}}]), {
                "numbers": list(range(row.items))
            }
        case "chain":
            return made(_chain(registry)), {"start": 0}
        case _:
            return made(_texts(registry, f"{folder}/passages.db")), {"documents": work.texts()}


def _paper(registry: Any) -> list[Any]:
    from flows.author import handler

    for name in work.PAPER:

        def step(value: str, *, name: str = name) -> str:
            return work.paper_step(name, value)

        handler(name=name, writes=name, registry=registry)(step)

    def named(name: str) -> Any:
        return {"handler": name, "reads": {"value": work.PAPER_READS.get(name, "source")}}

    return [
        named(group[0]) if len(group) == 1 else {"parallel": [named(name) for name in group]}
        for group in work.PAPER_GROUPS
    ]


def _documents(registry: Any, *, batched: bool) -> list[Any]:
    from flows.author import handler

    for name in work.DOCUMENT_STEPS:

        def step(document: int, *, name: str = name) -> str:
            return work.document_step(name, document)

        def steps(document: Sequence[int], *, name: str = name) -> list[str]:
            return [work.document_step(name, each) for each in document]

        handler(name=name, writes=name, registry=registry)(steps if batched else step)
    return list(work.DOCUMENT_STEPS)


def _nothing(registry: Any) -> str:
    from flows.author import handler

    def step(number: int) -> int:
        return work.nothing(number)

    handler(name="nothing", writes="same", registry=registry)(step)
    return "nothing"


def _chain(registry: Any) -> list[Any]:
    from flows.author import handler

    steps: list[Any] = []
    before = "start"
    for number in range(work.CHAIN):
        name = f"link_{number}"

        def step(value: int, *, name: str = name) -> int:
            return work.link(name, value)

        handler(name=name, writes=name, registry=registry)(step)
        steps.append({"handler": name, "reads": {"value": before}})
        before = name
    return steps


def _texts(registry: Any, file: str) -> list[Any]:
    from flows.author import handler

    def chunk(documents: list[str]) -> dict[str, list[str]]:
        return work.chunk(documents)

    def digest(chunks: dict[str, list[str]]) -> dict[str, list[str]]:
        return work.digest(chunks)

    def store(chunks: dict[str, list[str]], digests: dict[str, list[str]]) -> int:
        return work.store(chunks, digests, file)

    handler(name="chunk", writes="chunks", registry=registry)(chunk)
    handler(name="digest", writes="digests", registry=registry)(digest)
    handler(name="store", writes="stored", registry=registry)(store)
    return ["chunk", "digest", "store"]
