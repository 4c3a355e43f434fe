"""The floor: bare threads."""

from concurrent.futures import ThreadPoolExecutor

from bench.peers import work
from bench.peers.work import Case, Row


def case(row: Row, folder: str) -> Case:
    match row.name:
        case "paper":
            return _paper
        case "documents" | "many":
            return lambda: _each(_document, row.items)
        case "nothing":
            return lambda: _each(work.nothing, row.items)
        case "chain":
            return _chain
        case _:
            documents = work.texts()
            return lambda: _texts(documents, f"{folder}/passages.db")


def _each(function, count: int) -> None:
    with ThreadPoolExecutor(work.AT_ONCE) as pool:
        list(pool.map(function, range(count)))


def _paper() -> None:
    values = {"source": "paper.pdf"}
    with ThreadPoolExecutor(work.AT_ONCE) as pool:
        for group in work.PAPER_GROUPS:
            begun = {
                name: pool.submit(work.paper_step, name, values[work.PAPER_READS.get(name, "source")]) for name in group
            }
            values |= {name: future.result() for name, future in begun.items()}


def _document(number: int) -> None:
    value = ""
    for name in work.DOCUMENT_STEPS:
        value = work.document_step(name, number, value)


def _chain() -> None:
    value = 0
    for number in range(work.CHAIN):
        value = work.link(f"link_{number}", value)


def _texts(documents: list[str], file: str) -> None:
    chunks = work.chunk(documents)
    work.store(chunks, work.digest(chunks), file)
