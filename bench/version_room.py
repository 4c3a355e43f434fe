"""The room of a second version of an index if a tenth of the documents differ; the target is 0.2 times the index.

    python -m bench.version_room [--documents 2000] [--store sqlite --store postgres]

`read anew`: only the documents that differ are written to the version, as when their files have changed.
`made anew`: all documents are written to it, as with another reader or another chunking, but nine tenths get the same
passages as before, whose vectors, words and facts are not made again (as in an ingestion).
`of another model`: all vectors are made again, and the passages of a tenth differ.

SQLite's file is measured after a checkpoint, and its pages in use; PostgreSQL's tables with their indexes, and the same
after VACUUM. Passages have 80 random words, vectors of 384 numbers, packed vectors of 110 tokens, and two entities.
"""

import argparse
import sqlite3
import tempfile
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psycopg

from bench.change_of_model import AT_ONCE, count_terms, document, documents, embed
from bench.serving import make_postgres_url
from flows.state import chunked
from handlers.records import Chunk, Document, Embeddings, Entity, Relation
from handlers.stores import IndexStore, PinnedIndex, open_index

Made = Sequence[tuple[Document, list[Chunk]]]
TOKENS, BYTES = 110, 33


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=2_000)
    parser.add_argument("--store", choices=["sqlite", "postgres"], action="append")
    chosen = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="braid-room-")))
        postgres = make_postgres_url(stack) if "postgres" in (chosen.store or ["postgres"]) else ""
        for name in chosen.store or ["sqlite", "postgres"]:
            for number, (kind, build) in enumerate(KINDS.items()):
                url = postgres.format(index=f"room{number}") if name == "postgres" else str(folder / f"{number}.db")
                _measure(f"{name}, {kind}", url, build, chosen.documents)


def _measure(name: str, url: str, build: "Build", count: int) -> None:
    store = open_index(url)
    for number, batch in enumerate(documents(count)):
        _write(store, batch, "old", f"r{number}", way="1")
    before = _sizes(store, url)
    build(store, count)
    both = _sizes(store, url)
    store.remove_version("trial")
    after = _sizes(store, url)
    store.close()
    print(f"{name}: {count} documents")
    for measure in before:
        sizes = [each[measure] for each in (before, both, after)]
        shown = ", ".join(f"{size / 1e6:.1f} MB" for size in sizes)
        print(f"  {measure:24} before, with both, without the second: {shown}; {sizes[1] / sizes[0]:.3f} x", flush=True)


def _read_anew(store: IndexStore, count: int) -> None:
    trial = PinnedIndex(store, store.begin_version("old", "trial"))
    for batch in chunked(list(_changed(count)), AT_ONCE):
        _write(trial, batch, "old", "trial", way="1")


def _made_anew(store: IndexStore, count: int, model: str = "old") -> None:
    trial: Any = PinnedIndex(store, store.begin_version(model, "trial"))
    changed = {each.id: (each, chunks) for each, chunks in _changed(count)}
    for batch in documents(count):
        _write(trial, [changed.get(each[0].id, each) for each in batch], model, "trial", way="2")


def _changed(count: int) -> Iterable[tuple[Document, list[Chunk]]]:
    """Every tenth document, with other passages."""
    number = 0
    for batch in documents(count):
        for each, chunks in batch:
            if number % 10 == 0:
                made, others = document(each.id, [f"changed{chunk.text}" for chunk in chunks])
                yield replace(made, content_sha256=each.content_sha256), others
            number += 1


Build = Callable[[IndexStore, int], None]
KINDS: dict[str, Build] = {
    "read anew": _read_anew,
    "made anew": _made_anew,
    "of another model": lambda store, count: _made_anew(store, count, "new"),
}


def _write(store: Any, batch: Made, model: str, run: str, *, way: str) -> None:
    """Store and publish documents; of the passages, only facets that the index does not have."""
    chunks = [chunk for _, each in batch for chunk in each]
    states = store.chunk_states([chunk.id for chunk in chunks])
    new = [chunk for chunk in chunks if chunk.id not in states or not states[chunk.id].terms]
    without = [chunk for chunk in chunks if chunk.id not in states or states[chunk.id].model != model]
    fingerprint = f"documents={way} graph=1 terms=1 vectors={model}"
    names = store.put_documents([each for each, _ in batch], chunks, run_id=run, fingerprint=fingerprint)
    if without:
        store.put_vectors(without, _with_tokens(embed(without, model)), run_id=run)
    if new:
        store.put_terms(new, count_terms(new), run_id=run)
        store.put_graph(new, *_facts(new), run_id=run)
    store.publish(names, expect=("vectors", "terms", "facts"))


def _with_tokens(embeddings: Embeddings) -> Embeddings:
    chance = np.random.default_rng(1)
    return replace(embeddings, tokens=tuple(chance.bytes(TOKENS * BYTES) for _ in embeddings.chunk_ids))


def _facts(chunks: Sequence[Chunk]) -> tuple[list[Entity], list[Relation]]:
    named = [(each, each.text.split()[:2]) for each in chunks]
    entities = [Entity(word, "thing", each.document_id, each.id) for each, words in named for word in set(words)]
    return entities, [Relation(first, second, "near", each.document_id, each.id) for each, (first, second) in named]


def _sizes(store: IndexStore, url: str) -> dict[str, int]:
    if url.startswith("postgresql"):
        grown = store.size_bytes()
        with psycopg.connect(url.partition("&index=")[0].replace("+psycopg", ""), autocommit=True) as connection:
            connection.execute("VACUUM")
        return {"tables": grown, "after VACUUM": store.size_bytes()}
    connection = sqlite3.connect(url)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    (size,), (pages,), (free,) = (
        connection.execute(f"PRAGMA {name}").fetchone() for name in ("page_size", "page_count", "freelist_count")
    )
    connection.close()
    return {"file": size * pages, "pages in use": size * (pages - free)}


if __name__ == "__main__":
    main()
