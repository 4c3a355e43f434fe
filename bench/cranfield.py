"""How well the index finds: nDCG@10, recall@100 and MRR on the Cranfield collection, and what a query takes.

    python -m bench.cranfield --data FOLDER        (or BRAID_CRANFIELD=FOLDER)

FOLDER holds `corpus.jsonl` (`_id`, `title`, `text`), `queries.jsonl` (`_id`, `text`) and `qrels.tsv` (query, document,
score). Every document is one chunk of title and text. Nothing is tuned to the queries: all settings are the defaults.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import log2
from pathlib import Path

from flows.calls import Call
from flows.context import Identity
from flows.services import Services
from handlers.embeddings import generate_dense_embeddings, generate_sparse_embeddings
from handlers.entities import extract_entities
from handlers.models.embedding import make_embedder
from handlers.records import Chunk, Document, Hit, stable_id
from handlers.retrieval.graph import graph_search
from handlers.retrieval.merging import hybrid_merge
from handlers.retrieval.rewriting import extract_entities_from_query, query_rewrite
from handlers.retrieval.searching import embed_query, keyword_search, vector_search
from handlers.stores import open_index
from handlers.storing import (
    publish_documents,
    store_dense_vectors,
    store_documents,
    store_graph,
    store_sparse_vectors,
)  # fmt: skip

TOP_K = 100
BATCH = 200


def ndcg(ranked: Sequence[str], gains: Mapping[str, float], *, at: int = 10) -> float:
    """Normalised discounted cumulative gain of the first `at`, with the judged scores as gains.

    The sum of gain / log2(rank + 1), rank counted from 1, over that of the ideal order.

    Source: Järvelin & Kekäläinen, TOIS 2002, in the form of trec_eval's `ndcg_cut` (linear gains).
    """
    ideal = sorted(gains.values(), reverse=True)[:at]
    best = sum(gain / log2(place + 2) for place, gain in enumerate(ideal))
    got = sum(gains.get(name, 0.0) / log2(place + 2) for place, name in enumerate(ranked[:at]))
    return got / best if best else 0.0


def recall(ranked: Sequence[str], gains: Mapping[str, float], *, at: int = 100) -> float:
    """The share of the relevant documents (gain above 0) among the first `at`."""
    relevant = {name for name, gain in gains.items() if gain > 0}
    return len(relevant & set(ranked[:at])) / len(relevant) if relevant else 0.0


def reciprocal_rank(ranked: Sequence[str], gains: Mapping[str, float]) -> float:
    """1 / the rank of the first relevant document, 0 if there is none."""
    return next((1 / place for place, name in enumerate(ranked, start=1) if gains.get(name, 0) > 0), 0.0)


def read_collection(folder: Path) -> tuple[list[Document], dict[str, str], dict[str, dict[str, float]]]:
    """Documents, queries by id, and gains by query and document."""
    documents: list[Document] = []
    for line in (folder / "corpus.jsonl").read_text().splitlines():
        record = json.loads(line)
        text = f"{record['title']}\n{record['text']}".strip()
        documents.append(
            Document(
                record["_id"], record["_id"], f"cranfield:{record['_id']}", record["title"], "text/plain", text,
                stable_id(text),
            )
        )  # fmt: skip
    queries = {
        record["_id"]: record["text"] for record in map(json.loads, (folder / "queries.jsonl").read_text().splitlines())
    }
    gains: dict[str, dict[str, float]] = defaultdict(dict)
    for line in (folder / "qrels.tsv").read_text().splitlines()[1:]:
        query, document, score, *_ = line.split("\t")
        gains[query][document] = float(score)
    return documents, queries, gains


def ingest(documents: Sequence[Document], call: Call) -> None:
    """Documents into the index, through the handlers that pipelines use."""
    for start in range(0, len(documents), BATCH):
        some = documents[start : start + BATCH]
        chunks = [
            Chunk(stable_id(each.id, each.text), each.id, 0, each.text, 0, len(each.text)) for each in some if each.text
        ]
        facts = extract_entities(chunks, call=call)
        stored = store_documents(some, chunks, call=call)
        vectors = store_dense_vectors(chunks, generate_dense_embeddings(chunks, call=call), call=call)
        terms = store_sparse_vectors(chunks, generate_sparse_embeddings(chunks, call=call), call=call)
        store_graph(chunks, facts["entities"], facts["relations"], call=call)
        publish_documents(stored, vectors, terms, call=call)
        print(f"\r{start + len(some)} of {len(documents)} documents", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)


def searches(call: Call) -> dict[str, Callable[[str], Sequence[Hit]]]:
    """The ways of searching that are compared, each from the question's text."""

    def by_vector(query: str) -> Sequence[Hit]:
        return vector_search(embed_query(query, call=call), top_k=TOP_K, call=call)

    def by_words(query: str) -> Sequence[Hit]:
        return keyword_search(query, query_rewrite(query, call=call), top_k=TOP_K, call=call)

    def by_graph(query: str) -> Sequence[Hit]:
        return graph_search(query, extract_entities_from_query(query, call=call), top_k=TOP_K, call=call)

    return {
        "keyword": by_words,
        "vector": by_vector,
        "graph": by_graph,
        "hybrid (keyword, vector)": lambda query: hybrid_merge(by_vector(query), by_words(query), limit=TOP_K),
        "hybrid (all three)": lambda query: hybrid_merge(
            by_vector(query), by_words(query), by_graph(query), limit=TOP_K
        ),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default=os.environ.get("BRAID_CRANFIELD"), help="the folder of the collection")
    parser.add_argument("--embedder", default="bge-small-en-v1.5")
    options = parser.parse_args()
    if not options.data or not (Path(options.data) / "corpus.jsonl").is_file():
        parser.error("give the folder of the Cranfield collection: --data FOLDER or BRAID_CRANFIELD=FOLDER")
    documents, queries, gains = read_collection(Path(options.data))
    with tempfile.TemporaryDirectory() as folder:
        services = Services(
            {
                "index_store": partial(open_index, str(Path(folder) / "cranfield.db")),
                "embedder": partial(make_embedder, options.embedder),
            }
        )
        call = Call(identity=Identity(index="cranfield", run_id="bench", services=services))
        started = time.perf_counter()
        ingest(documents, call)
        print(
            f"ingested {len(documents)} documents in {time.perf_counter() - started:.0f} s, embedder {options.embedder}"
        )
        print(services["index_store"].statistics())
        print(f"{'search':<26}{'nDCG@10':>9}{'recall@100':>12}{'MRR':>8}{'median ms':>11}{'p95 ms':>8}{'answered':>10}")
        for name, search in searches(call).items():
            search(next(iter(queries.values())))  # loads the model and the vectors
            ranked: dict[str, list[str]] = {}
            taken_ms: list[float] = []
            for query_id, text in queries.items():
                began = time.perf_counter()
                hits = search(text)
                taken_ms.append((time.perf_counter() - began) * 1e3)
                ranked[query_id] = [hit.document_id for hit in hits]
            means = [
                statistics.fmean(measure(ranked[query_id], gains[query_id]) for query_id in queries)
                for measure in (ndcg, recall, reciprocal_rank)
            ]
            median, late = statistics.median(taken_ms), statistics.quantiles(taken_ms, n=20)[-1]
            answered = sum(bool(each) for each in ranked.values())
            print(
                f"{name:<26}{means[0]:>9.3f}{means[1]:>12.3f}{means[2]:>8.3f}{median:>11.1f}{late:>8.1f}{answered:>10}"
            )
        services.close()


if __name__ == "__main__":
    main()
