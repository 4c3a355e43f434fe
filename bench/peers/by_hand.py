"""The same work as an expert would write it for Prefect without Braid: tasks awaited in task groups."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from bench.peers import work
from bench.peers.work import Case, Row


def case(row: Row, folder: str, *, batch: str) -> Case:
    flows = {"paper": _paper, "nothing": _nothing, "chain": _chain, "texts": _texts}
    made = flows[row.name](row, folder) if row.name in flows else _documents(row, batch)
    return lambda: asyncio.run(made())


def _task(name: str):
    """A task that calls a function in a thread."""
    from prefect import task

    async def body(function, *arguments):
        return await asyncio.to_thread(function, *arguments)

    return task(name=name, task_run_name=name, persist_result=False)(body)


def _flow(body):
    from prefect import flow

    return flow(name="by-hand", persist_result=False)(body)


def _paper(row: Row, folder: str):
    tasks = {name: _task(name) for name in work.PAPER}

    async def paper() -> None:
        values = {"source": "paper.pdf"}

        async def step(name: str) -> None:
            read = values[work.PAPER_READS.get(name, "source")]
            values[name] = await tasks[name](work.paper_step, name, read)

        for group in work.PAPER_GROUPS:
            async with asyncio.TaskGroup() as running:
                for name in group:
                    running.create_task(step(name))

    return _flow(paper)


def _documents(row: Row, batch: str):
    """One task run per step and batch: two batches for `auto`, two documents in one for `batched`, else one each."""
    tasks = {name: _task(name) for name in work.DOCUMENT_STEPS}
    size = {"one": 1, "batched": 2, "auto": -(-row.items // 2)}[batch]
    batches = [range(at, min(at + size, row.items)) for at in range(0, row.items, size)]
    threads = max(1, work.AT_ONCE // min(work.AT_ONCE, len(batches)))

    def step(name: str, documents: range) -> None:
        if threads == 1:
            for each in documents:
                work.document_step(name, each)
            return
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(partial(work.document_step, name), documents))

    async def documents() -> None:
        window = asyncio.Semaphore(work.AT_ONCE)

        async def one(documents: range) -> None:
            async with window:
                for name in work.DOCUMENT_STEPS:
                    await tasks[name](step, name, documents)

        async with asyncio.TaskGroup() as running:
            for each in batches:
                running.create_task(one(each))

    return _flow(documents)


def _nothing(row: Row, folder: str):
    made = _task("nothing")

    async def nothing() -> None:
        window = asyncio.Semaphore(work.AT_ONCE)

        async def one(number: int) -> None:
            async with window:
                await made(work.nothing, number)

        async with asyncio.TaskGroup() as running:
            for number in range(row.items):
                running.create_task(one(number))

    return _flow(nothing)


def _chain(row: Row, folder: str):
    tasks = {name: _task(name) for name in (f"link_{number}" for number in range(work.CHAIN))}

    async def chain() -> None:
        value = 0
        for name, made in tasks.items():
            value = await made(work.link, name, value)

    return _flow(chain)


def _texts(row: Row, folder: str):
    from prefect.utilities.annotations import quote

    chunk, digest, store = _task("chunk"), _task("digest"), _task("store")
    documents = work.texts()

    async def texts() -> None:
        chunks = await chunk(work.chunk, quote(documents))
        digests = await digest(work.digest, quote(chunks))
        await store(work.store, quote(chunks), quote(digests), f"{folder}/passages.db")

    return _flow(texts)
