"""Search quality (nDCG@10, recall and MRR) on the Cranfield collection, and the time of a query.

    python -m bench.cranfield --data FOLDER        (or BRAID_CRANFIELD=FOLDER)

FOLDER holds `corpus.jsonl` (`_id`, `title`, `text`), `queries.jsonl` (`_id`, `text`) and `qrels.tsv` (query, document,
score). Every document is one chunk of title and text; the measures are those of `braid evaluate`. Nothing is tuned to
the queries: all settings are the defaults.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from flows.author import Call
from flows.state import Identity, Services, chunked
from handlers.ingestion.embeddings import generate_dense_embeddings, generate_sparse_embeddings
from handlers.ingestion.entities import extract_entities
from handlers.ingestion.storing import (
    publish_documents,
    store_dense_vectors,
    store_documents,
    store_graph,
    store_sparse_vectors,
)
from handlers.models import make_embedder
from handlers.records import Chunk, Document, stable_id
from handlers.retrieval import measure, read_judgements, read_queries, run_questions, ways_of_searching
from handlers.stores import open_index

BATCH = 200


def read_collection(folder: Path) -> list[Document]:
    """The documents; queries and judgements are read as `braid evaluate` reads them."""
    documents: list[Document] = []
    for line in (folder / "corpus.jsonl").read_text().splitlines():
        record = json.loads(line)
        text = f"{record['title']}\n{record['text']}".strip()
        documents.append(
            Document(
                record["_id"],
                record["_id"],
                f"cranfield:{record['_id']}",
                record["title"],
                "text/plain",
                text,
                stable_id(text),
            )
        )
    return documents


def ingest(documents: Sequence[Document], call: Call) -> None:
    """Documents into the index, through the handlers that pipelines use."""
    done = 0
    for some in chunked(documents, BATCH):
        chunks = [
            Chunk(stable_id(each.id, each.text), each.id, 0, each.text, 0, len(each.text)) for each in some if each.text
        ]
        facts = extract_entities(chunks, call=call)
        stored = store_documents(some, chunks, call=call)
        vectors = store_dense_vectors(chunks, generate_dense_embeddings(chunks, documents=some, call=call), call=call)
        terms = store_sparse_vectors(chunks, generate_sparse_embeddings(chunks, documents=some, call=call), call=call)
        store_graph(chunks, facts["entities"], facts["relations"], call=call)
        publish_documents(stored, vectors, terms, call=call)
        done += len(some)
        print(f"\r{done} of {len(documents)} documents", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default=os.environ.get("BRAID_CRANFIELD"), help="the folder of the collection")
    parser.add_argument("--embedder", default="bge-small-en-v1.5")
    options = parser.parse_args()
    if not options.data or not (Path(options.data) / "corpus.jsonl").is_file():
        parser.error("give the folder of the Cranfield collection: --data FOLDER or BRAID_CRANFIELD=FOLDER")
    documents = read_collection(Path(options.data))
    queries = read_queries(Path(options.data) / "queries.jsonl")
    gains = read_judgements(Path(options.data) / "qrels.tsv")
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
        print(
            f"{'search':<20}{'nDCG@10':>9}{'recall@10':>11}{'recall@100':>12}{'MRR':>8}{'median ms':>11}"
            f"{'answered':>10}"
        )
        for name, search in ways_of_searching(call).items():
            run = run_questions(search, queries)
            means = measure(run.documents(lambda hit: hit.document_id), gains)
            print(
                f"{name:<20}{means['ndcg@10']:>9.3f}{means['recall@10']:>11.3f}{means['recall@100']:>12.3f}"
                f"{means['mrr']:>8.3f}{run.median_ms:>11.1f}{run.answered:>10}"
            )
        services.close()


if __name__ == "__main__":
    main()
