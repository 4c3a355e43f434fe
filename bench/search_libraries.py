"""Libraries for search, filled with the passages of `bench.search_corpus`: by vectors (0) or by words (1).

Each is called with the number of passages, and whether their vectors are alike. It returns a function from a question
to the scores of those found, which are products if it searches by vectors; and of which kind the questions are.
"""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from bench.search_corpus import DIMENSIONS, PASSAGES, VOCABULARY, parts

_STEP, _ROUNDING = np.float32(0.3 / 127), 2e-3
"""Of vectors of eight bits, with which usearch leaves scaling to its callers."""
_EXPANSION = 512
"""The candidates of a search by HNSW; with the default of 64, recall of the first fifty is far below that."""
Search: TypeAlias = Callable[[Any, int], Sequence[float]]


def _faiss(passages: int, alike: bool, kind: str) -> tuple[Search, int]:
    import faiss  # pyright: ignore[reportMissingImports]

    faiss.omp_set_num_threads(1)
    index = faiss.index_factory(DIMENSIONS, kind, faiss.METRIC_INNER_PRODUCT)
    for number, part in enumerate(parts(passages, alike=alike)):
        if number == 0:
            index.train(part.vectors)
        index.add(part.vectors)
    return lambda vector, top_k: index.search(vector[None], top_k)[0][0].tolist(), 0


def _usearch_exact(passages: int, alike: bool) -> tuple[Search, int]:
    from usearch.compiled import MetricKind
    from usearch.index import search

    rows = np.concatenate([_eight_bits(part.vectors, _STEP) for part in parts(passages, alike=alike)])

    def ask(vector: np.ndarray, top_k: int) -> Sequence[float]:
        keys = search(rows, _as_question(vector), top_k, MetricKind.IP, exact=True, threads=1).keys
        return _products(rows[keys], vector)

    return ask, 0


def _usearch_hnsw(passages: int, alike: bool) -> tuple[Search, int]:
    from usearch.index import Index

    index = Index(ndim=DIMENSIONS, metric="ip", dtype="i8", expansion_search=_EXPANSION)
    for part in parts(passages, alike=alike):
        keys = part.first * PASSAGES + np.arange(len(part.vectors))
        index.add(keys, _eight_bits(part.vectors, _STEP), threads=1)

    def ask(vector: np.ndarray, top_k: int) -> Sequence[float]:
        keys = index.search(_as_question(vector), top_k, threads=1, exact=False).keys
        return _products(np.asarray(index.get(keys)), vector)

    return ask, 0


def _eight_bits(vectors: np.ndarray, step: np.float32) -> np.ndarray:
    return np.rint(vectors / step).clip(-127, 127).astype(np.int8)


def _as_question(vector: np.ndarray) -> np.ndarray:
    return _eight_bits(vector, np.abs(vector).max() / 127)


def _products(rows: np.ndarray, vector: np.ndarray) -> Sequence[float]:
    return ((rows.astype(np.float32) @ vector) * _STEP + _ROUNDING).tolist()


def _tantivy(passages: int, alike: bool) -> tuple[Search, int]:
    import tantivy  # pyright: ignore[reportMissingImports]

    schema = tantivy.SchemaBuilder().add_text_field("text", tokenizer_name="whitespace").build()
    index = tantivy.Index(schema, path=tempfile.mkdtemp(prefix="braid-tantivy-"))
    writer = index.writer(heap_size=100_000_000, num_threads=1)
    for part in parts(passages, alike=alike):
        for number in range(len(part.ranks)):
            writer.add_document(tantivy.Document(text=" ".join(part.words(number))))
    writer.commit()
    writer.wait_merging_threads()
    index.reload()
    searcher = index.searcher()

    def ask(counts: Mapping[str, float], top_k: int) -> Sequence[float]:
        return [score for score, _ in searcher.search(index.parse_query(" ".join(counts), ["text"]), top_k).hits]

    return ask, 1


def _bm25s(passages: int, alike: bool) -> tuple[Search, int]:
    import bm25s  # pyright: ignore[reportMissingImports]

    names = np.array([f"word{rank}" for rank in range(VOCABULARY)], dtype=object)
    texts = [words for part in parts(passages, alike=alike) for words in names[part.ranks].tolist()]
    index = bm25s.BM25(k1=1.2, b=0.75)
    index.index(texts, show_progress=False)
    return lambda counts, top_k: index.retrieve([list(counts)], k=top_k, show_progress=False)[1][0].tolist(), 1


def _lancedb(passages: int, alike: bool) -> tuple[Search, int]:
    import lancedb  # pyright: ignore[reportMissingImports]
    import pyarrow as pa  # pyright: ignore[reportMissingImports]

    database = lancedb.connect(tempfile.mkdtemp(prefix="braid-lance-"))
    table: Any = None
    for part in parts(passages, alike=alike):
        flat = pa.array(part.vectors.reshape(-1), pa.float32())
        rows = pa.table({"vector": pa.FixedSizeListArray.from_arrays(flat, DIMENSIONS)})
        table = database.create_table("passages", rows) if table is None else table.add(rows) and table

    def ask(vector: np.ndarray, top_k: int) -> Sequence[float]:
        found = table.search(vector).distance_type("dot").limit(top_k).to_arrow()
        return (1 - found["_distance"].to_numpy()).tolist()

    return ask, 0


def _duckdb(passages: int, alike: bool) -> tuple[Search, int]:
    import duckdb
    import pyarrow as pa  # pyright: ignore[reportMissingImports]

    connection = duckdb.connect()
    connection.execute("SET threads = 1")
    connection.execute(f"CREATE TABLE passages (vector FLOAT[{DIMENSIONS}])")
    for part in parts(passages, alike=alike):
        flat = pa.array(part.vectors.reshape(-1), pa.float32())
        rows = pa.table({"vector": pa.FixedSizeListArray.from_arrays(flat, DIMENSIONS)})
        connection.register("rows", rows)
        connection.execute("INSERT INTO passages SELECT vector FROM rows")
    product = f"array_inner_product(vector, ?::FLOAT[{DIMENSIONS}])"
    query = f"SELECT {product} AS product FROM passages ORDER BY product DESC LIMIT ?"
    return lambda vector, top_k: [row[0] for row in connection.execute(query, [vector.tolist(), top_k]).fetchall()], 0


def _qdrant(passages: int, alike: bool) -> tuple[Search, int]:
    from qdrant_client import QdrantClient, models  # pyright: ignore[reportMissingImports]

    client = QdrantClient(":memory:")
    size = models.VectorParams(size=DIMENSIONS, distance=models.Distance.DOT)
    client.create_collection("passages", vectors_config=size)
    for part in parts(passages, alike=alike):
        ids = (part.first * PASSAGES + np.arange(len(part.vectors))).tolist()
        client.upsert("passages", models.Batch(ids=ids, vectors=part.vectors.tolist()))
    return lambda vector, top_k: [
        point.score for point in client.query_points("passages", query=vector.tolist(), limit=top_k).points
    ], 0


LIBRARIES: Mapping[str, Callable[[int, bool], tuple[Search, int]]] = {
    "faiss": lambda passages, alike: _faiss(passages, alike, "Flat"),
    "faiss-8bit": lambda passages, alike: _faiss(passages, alike, "SQ8"),
    "usearch-8bit": _usearch_exact,
    "usearch-hnsw": _usearch_hnsw,
    "tantivy": _tantivy,
    "bm25s": _bm25s,
    "lancedb": _lancedb,
    "duckdb": _duckdb,
    "qdrant": _qdrant,
}
