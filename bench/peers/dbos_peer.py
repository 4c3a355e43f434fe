"""DBOS: a durable workflow in SQLite, a step per call, ten at once."""
# pyright: reportMissingImports=false
# It runs in an environment of its own.

import asyncio

from bench.peers import work
from bench.peers.work import Case, Row


def case(row: Row, folder: str) -> Case:
    from dbos import DBOS

    DBOS(config={"name": "peers", "system_database_url": f"sqlite:///{folder}/dbos.db", "log_level": "ERROR"})
    flow = {"paper": _paper, "nothing": _nothing, "chain": _chain, "texts": _texts}.get(row.name, _documents)
    workflow = flow(row, folder)

    def once() -> None:
        DBOS.launch()
        asyncio.run(workflow())
        DBOS.destroy()

    return once


def _step(name: str):
    """A step that calls a function in a thread."""
    from dbos import DBOS

    async def body(function, *arguments):
        return await asyncio.to_thread(function, *arguments)

    return DBOS.step(name=name)(body)


def _workflow(body):
    from dbos import DBOS

    return DBOS.workflow(name="peers")(body)


def _paper(row: Row, folder: str):
    steps = {name: _step(name) for name in work.PAPER}

    async def paper() -> None:
        values = {"source": "paper.pdf"}
        for group in work.PAPER_GROUPS:
            reads = [values[work.PAPER_READS.get(name, "source")] for name in group]
            made = await asyncio.gather(
                *(steps[name](work.paper_step, name, read) for name, read in zip(group, reads, strict=True))
            )
            values |= dict(zip(group, made, strict=True))

    return _workflow(paper)


def _documents(row: Row, folder: str):
    steps = {name: _step(name) for name in work.DOCUMENT_STEPS}

    async def documents() -> None:
        window = asyncio.Semaphore(work.AT_ONCE)

        async def one(number: int) -> None:
            async with window:
                value = ""
                for name in work.DOCUMENT_STEPS:
                    value = await steps[name](work.document_step, name, number, value)

        await asyncio.gather(*(one(number) for number in range(row.items)))

    return _workflow(documents)


def _nothing(row: Row, folder: str):
    step = _step("nothing")

    async def nothing() -> None:
        window = asyncio.Semaphore(work.AT_ONCE)

        async def one(number: int) -> None:
            async with window:
                await step(work.nothing, number)

        await asyncio.gather(*(one(number) for number in range(row.items)))

    return _workflow(nothing)


def _chain(row: Row, folder: str):
    steps = {name: _step(name) for name in (f"link_{number}" for number in range(work.CHAIN))}

    async def chain() -> None:
        value = 0
        for name, step in steps.items():
            value = await step(work.link, name, value)

    return _workflow(chain)


def _texts(row: Row, folder: str):
    chunk, digest, store = _step("chunk"), _step("digest"), _step("store")
    documents = work.texts()

    async def texts() -> None:
        chunks = await chunk(work.chunk, documents)
        digests = await digest(work.digest, chunks)
        await store(work.store, chunks, digests, f"{folder}/passages.db")

    return _workflow(texts)
