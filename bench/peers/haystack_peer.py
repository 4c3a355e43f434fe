"""Haystack: a component per step, a pipeline per document, ten pipelines at once in threads."""
# pyright: reportMissingImports=false
# It runs in an environment of its own.

import asyncio
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

from bench.peers import work
from bench.peers.work import Case, Row


def case(row: Row, folder: str) -> Case:
    match row.name:
        case "paper":
            return _paper()
        case "documents" | "many":
            made = _line(work.DOCUMENT_STEPS, lambda name, value: _next_document(name, value))
            first = work.DOCUMENT_STEPS[0]
            return lambda: _each(lambda number: made.run({first: {"value": (number, "")}}), row.items)
        case "nothing":
            made = _line(["nothing"], lambda name, value: work.nothing(value))
            return lambda: _each(lambda number: made.run({"nothing": {"value": number}}), row.items)
        case "chain":
            names = [f"link_{number}" for number in range(work.CHAIN)]
            made = _line(names, work.link)
            return lambda: made.run({names[0]: {"value": 0}})
        case _:
            return _texts(folder)


def _next_document(name: str, value: tuple[int, str]) -> tuple[int, str]:
    return value[0], work.document_step(name, value[0], value[1])


def _each(function, count: int) -> None:
    with ThreadPoolExecutor(work.AT_ONCE) as pool:
        list(pool.map(function, range(count)))


def _component(name: str, function) -> Any:
    from haystack import component

    @component
    class Step:
        @component.output_types(value=Any)
        def run(self, value: Any) -> dict[str, Any]:
            return {"value": function(name, value)}

    return Step()


def _line(names, function) -> Any:
    from haystack import Pipeline

    pipeline = Pipeline()
    for name in names:
        pipeline.add_component(name, _component(name, function))
    for before, after in pairwise(names):
        pipeline.connect(f"{before}.value", f"{after}.value")
    return pipeline


def _paper() -> Case:
    from haystack import Pipeline, component

    def step(name: str, waits: tuple[str, ...]) -> Any:
        @component
        class Step:
            def __init__(self) -> None:
                component.set_input_types(self, **dict.fromkeys(waits, str))

            @component.output_types(value=str)
            def run(self, **values: str) -> dict[str, str]:
                return {"value": work.paper_step(name, values[work.PAPER_READS.get(name, "source")])}

        return Step()

    pipeline = Pipeline()
    for at, group in enumerate(work.PAPER_GROUPS):
        before = work.PAPER_GROUPS[at - 1] if at else ()
        for name in group:
            pipeline.add_component(name, step(name, before or ("source",)))
        for name in group:
            for earlier in before:
                pipeline.connect(f"{earlier}.value", f"{name}.{earlier}")
    first = work.PAPER_GROUPS[0][0]
    return lambda: asyncio.run(pipeline.run_async({first: {"source": "paper.pdf"}}, concurrency_limit=work.AT_ONCE))


def _texts(folder: str) -> Case:
    from haystack import Pipeline, component

    @component
    class Chunk:
        @component.output_types(chunks=dict)
        def run(self, documents: list) -> dict[str, Any]:
            return {"chunks": work.chunk(documents)}

    @component
    class Digest:
        @component.output_types(digests=dict)
        def run(self, chunks: dict) -> dict[str, Any]:
            return {"digests": work.digest(chunks)}

    @component
    class Store:
        @component.output_types(stored=int)
        def run(self, chunks: dict, digests: dict) -> dict[str, Any]:
            return {"stored": work.store(chunks, digests, f"{folder}/passages.db")}

    pipeline = Pipeline()
    for name, made in (("chunk", Chunk()), ("digest", Digest()), ("store", Store())):
        pipeline.add_component(name, made)
    pipeline.connect("chunk.chunks", "digest.chunks")
    pipeline.connect("chunk.chunks", "store.chunks")
    pipeline.connect("digest.digests", "store.digests")
    documents = work.texts()
    return lambda: pipeline.run({"chunk": {"documents": documents}})
