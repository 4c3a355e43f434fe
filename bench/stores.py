"""How many rows per second the indexes store, compared with a bare COPY and with making the rows.

    python -m bench.stores --documents 400

Documents are of random words in ten passages each, cut, counted and searched for entities by the real handlers'
functions; vectors are random (a real embedder makes about 13 a CPU-second). Needs the extra `test`.
"""

import argparse
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from flows.state import chunked
from handlers.records import Chunk, Document, Embeddings, Entity, Relation, SparseVector, stable_id
from handlers.stores import IndexWriter, open_index
from handlers.text import terms
from tests.support.servers import run_postgres

PASSAGES, WORDS, DIMENSIONS, BATCH = 10, 120, 384, 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int, default=400)
    count = parser.parse_args().documents
    rng = np.random.default_rng(1)
    vocabulary = [f"word{number}" for number in range(20_000)]
    began = time.perf_counter()
    made = [make(place, rng, vocabulary) for place in range(count)]
    sparse = {chunk.id: count_terms(chunk) for _, chunks in made for chunk in chunks}
    seconds = time.perf_counter() - began
    postings = sum(len(each.counts) for each in sparse.values())
    rows = postings + count * PASSAGES * 6  # passage, place in the document, vector, two mentions, a relation
    print(f"{count} documents, {count * PASSAGES} passages, {postings} postings: {rows} rows")
    print(f"{'making them, without embeddings':34} {rows / seconds:10,.0f} rows/s {count / seconds:8.1f} documents/s")
    with tempfile.TemporaryDirectory(prefix="braid-pg-") as folder, run_postgres(Path(folder) / "data") as url:
        report("bare COPY of the postings", postings, None, bare_copy(url, list(sparse.values())))
        for name, address in (("PostgreSQL", f"{url}&index=bench"), ("SQLite", f"{folder}/bench.db")):
            store = open_index(address)
            store.statistics()
            report(name, rows, count, fill(store, made, sparse, rng))
            store.close()


def report(name: str, rows: int, documents: int | None, seconds: float) -> None:
    shown = f"{documents / seconds:8.1f} documents/s" if documents else ""
    print(f"{name:34} {rows / seconds:10,.0f} rows/s {shown}")


def make(place: int, rng: np.random.Generator, vocabulary: Sequence[str]) -> tuple[Document, list[Chunk]]:
    texts = [" ".join(vocabulary[int(at)] for at in rng.zipf(1.3, WORDS) % len(vocabulary)) for _ in range(PASSAGES)]
    text = "\n".join(texts)
    document = Document(f"d{place}", f"d{place}.txt", "", "", "text/plain", text, stable_id(text))
    starts = np.cumsum([0, *(len(each) + 1 for each in texts)]).tolist()
    return document, [
        Chunk(stable_id(document.id, each), document.id, at, each, starts[at], starts[at] + len(each))
        for at, each in enumerate(texts)
    ]


def count_terms(chunk: Chunk) -> SparseVector:
    found = Counter(terms(chunk.text))
    return SparseVector(chunk.id, tuple(sorted(found.items())), found.total())


def fill(
    store: IndexWriter,
    made: Sequence[tuple[Document, list[Chunk]]],
    sparse: dict[str, SparseVector],
    rng: np.random.Generator,
    *,
    model: str = "random",
) -> float:
    vectors = rng.normal(size=(BATCH * PASSAGES, DIMENSIONS)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    seconds = 0.0
    for batch in chunked(made, BATCH):
        documents = [document for document, _ in batch]
        chunks = [chunk for _, some in batch for chunk in some]
        names = [(f"Name {rng.integers(500)}", f"Place {rng.integers(500)}") for _ in chunks]
        entities = [
            Entity(name, "NAME", chunk.document_id, chunk.id)
            for chunk, pair in zip(chunks, names, strict=True)
            for name in pair
        ]
        relations = [
            Relation(one, other, "near", chunk.document_id, chunk.id)
            for chunk, (one, other) in zip(chunks, names, strict=True)
        ]
        began = time.perf_counter()
        versions = store.put_documents(documents, chunks, run_id="bench")
        ids = tuple(chunk.id for chunk in chunks)
        store.put_vectors(chunks, Embeddings(ids, vectors[: len(ids)], model), run_id="bench")
        store.put_terms(chunks, [sparse[chunk.id] for chunk in chunks], run_id="bench")
        store.put_graph(chunks, entities, relations, run_id="bench")
        store.publish(versions, expect=("vectors", "terms", "facts"))
        seconds += time.perf_counter() - began
    return seconds


def bare_copy(url: str, sparse: Sequence[SparseVector]) -> float:
    import psycopg

    rows = [(term, place, n) for place, each in enumerate(sparse) for term, n in each.counts]
    with psycopg.connect(url.replace("postgresql+psycopg://", "postgresql://")) as connection:
        connection.execute("CREATE TABLE bare (term text, passage bigint, count int, PRIMARY KEY (term, passage))")
        began = time.perf_counter()
        with connection.cursor() as cursor, cursor.copy("COPY bare FROM STDIN WITH (FORMAT BINARY)") as copy:
            copy.set_types(["text", "int8", "int4"])
            for row in rows:
                copy.write_row(row)
        connection.commit()
        return time.perf_counter() - began


if __name__ == "__main__":
    main()
