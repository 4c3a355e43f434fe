"""The cost of recurring ingestion: time and CPU time cold, warm and with 1 % changed, next to bare function calls.

    python -m bench.incremental --documents 10000

The bare calls are the handlers' own functions, one after the other, on the same documents and the same kind of index,
without pipeline, run store and comparison. The embedder is the one for tests: the real one would hide everything else.
"""

import argparse
import os
import random
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from deployments.catalog import load_catalog
from deployments.runs import Request, load_handlers, make_services, run_pipeline
from deployments.settings import Settings
from flows.author import Call
from flows.state import Identity, chunked

WORDS = "storm river bridge violin orchard train valve pump engine table index query page York Selby Ann Bob".split()


def write(folder: Path, number: int, words: int, seed: int) -> None:
    dice = random.Random(seed)
    path = folder / f"{number // 1000:03}" / f"{number:06}.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    sentences = (" ".join(dice.choices(WORDS, k=12)).capitalize() + "." for _ in range(words // 12))
    path.write_text(" ".join(sentences), encoding="utf-8")
    os.utime(path, (1.7e9 + seed, 1.7e9 + seed))


@dataclass(frozen=True)
class Spent:
    """Seconds on the clock, and CPU seconds of this process and of those that parse documents."""

    seconds: float
    cpu_s: float

    @staticmethod
    def so_far() -> "Spent":
        own = psutil.Process()
        processes = [own.cpu_times(), *(child.cpu_times() for child in own.children(recursive=True))]
        ended = own.cpu_times()
        cpu_s = sum(each.user + each.system for each in processes) + ended.children_user + ended.children_system
        return Spent(time.perf_counter(), cpu_s)

    def since(self, began: "Spent") -> "Spent":
        return Spent(self.seconds - began.seconds, self.cpu_s - began.cpu_s)

    def line(self, name: str, count: int, alone: "Spent") -> str:
        return (
            f"{name:20} {self.seconds:8.2f} s  {count / self.seconds:8,.0f} documents/s"
            f"  {self.seconds / alone.seconds:6.3f} × bare"
            f"  {self.cpu_s:8.2f} CPU s  {self.cpu_s / alone.cpu_s:6.3f} × bare"
        )


def ingest(settings: Settings, source: Path | str, index: str) -> tuple[Spent, dict[str, Any]]:
    catalog = load_catalog(settings)
    began = Spent.so_far()
    request = Request(catalog.find("ingest"), {"source": str(source)}, index=index, engine="inline")
    result = run_pipeline(request, settings=settings, catalog=catalog)
    assert result.status == "succeeded", result.errors
    return Spent.so_far().since(began), result.context.data["changes"]


def bare(settings: Settings, source: Path, index: str = "bare") -> Spent:
    """The same work by calling the functions."""
    from handlers.extraction import extract_text
    from handlers.ingestion.embeddings import generate_dense_embeddings, generate_sparse_embeddings
    from handlers.ingestion.entities import extract_entities
    from handlers.ingestion.partition import partition_text
    from handlers.ingestion.storing import (
        publish_documents,
        store_dense_vectors,
        store_documents,
        store_graph,
        store_sparse_vectors,
    )
    from handlers.ingestion.summary import generate_summary
    from handlers.sources import list_sources

    services = make_services(settings, index)
    call: Any = Call(identity=Identity(index=index, services=services))
    began = Spent.so_far()
    sources = list_sources(str(source), call=call)
    for some in chunked(sources, 50):
        documents: Any = extract_text(some, call=call)["documents"]
        chunks = partition_text(documents, call=call)
        facts: Any = extract_entities(chunks, call=call)
        summaries = generate_summary(documents, call=call)
        embeddings = generate_dense_embeddings(chunks, call=call)
        sparse = generate_sparse_embeddings(chunks, call=call)
        stored = store_documents(documents, chunks, summaries, call=call)
        vectors = store_dense_vectors(chunks, embeddings, call=call)
        terms = store_sparse_vectors(chunks, sparse, call=call)
        graph = store_graph(chunks, facts["entities"], facts["relations"], call=call)
        publish_documents(stored, vectors, terms, graph, call=call)
    spent = Spent.so_far().since(began)
    services.close()
    return spent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=10_000)
    parser.add_argument("--words", type=int, default=120)
    given = parser.parse_args()
    count = given.documents
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "in")
        for number in range(count):
            write(source, number, given.words, number)
        settings = Settings(home=Path(folder, "home")).model_copy(update={"embedding_model": "hashing"})
        load_handlers(settings)
        write(Path(folder, "one"), 0, given.words, count)
        bare(settings, Path(folder, "one"), "one")  # imports, and processes that parse
        alone = bare(settings, source)
        print(f"{count:,} documents of {given.words} words\n")
        print(alone.line("bare function calls", count, alone))
        cold, _ = ingest(settings, source, "bench")
        print(cold.line("cold", count, alone))
        warm, changes = ingest(settings, source, "bench")
        assert changes["unchanged"] == count
        print(warm.line("warm", count, alone))
        for number in range(0, count, 100):
            write(source, number, given.words, count + number)
        some, changes = ingest(settings, source, "bench")
        assert changes["process"] == -(-count // 100)
        print(some.line("1 % changed", count, alone))


if __name__ == "__main__":
    main()
