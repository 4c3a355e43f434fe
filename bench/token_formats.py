"""The quality of the default search of a collection with token vectors in several formats, beside exact ones.

    python -m bench.token_formats FOLDER [--home FOLDER]

FOLDER is as for `bench.search_quality`; its tokens are embedded once, and stored in turn with 128, 256 (the format of
indexes) and 384 bits, and as floats. `p` is of the difference in nDCG@10 to floats and to 256 bits (paired
randomisation test over the questions). `correlation` is of the scores of all passages with exact ones.
"""

import argparse
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import sqlalchemy as sa

from bench.cranfield import ingest, read_collection
from bench.search_quality import chance
from flows.author import Call
from flows.state import Identity, Services
from handlers import token_vectors
from handlers.models import make_embedder
from handlers.retrieval import DEFAULT, measure, read_judgements, read_queries, run_questions, ways_of_searching
from handlers.retrieval.evaluation import ndcg
from handlers.stores import open_index
from handlers.stores.sql import search as store_search

AT_ONCE, CURRENT, EXACT = 16, 256, 0
BITS = (EXACT, 128, CURRENT, 384)
Tokens = Sequence[np.ndarray]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--home", type=Path, help="keep the index there, and use the one that is there")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        path = (options.home or Path(home)) / f"{options.folder.name}-formats.db"
        is_new = not path.exists()
        embedder: Any = make_embedder()
        services = Services({"index_store": partial(open_index, str(path)), "embedder": lambda: embedder})
        call = Call(identity=Identity(index="formats", run_id="bench", services=services))
        if is_new:
            ingest(read_collection(options.folder), call)
        compare(options.folder, path, embedder, call)
        services.close()


def compare(folder: Path, path: Path, embedder: Any, call: Call) -> None:
    engine = sa.create_engine(f"sqlite:///{path}")
    with engine.connect() as connection:
        query = "SELECT vectors.key, text FROM vectors JOIN passages ON passages.key = passage ORDER BY length(text)"
        rows = connection.execute(sa.text(query)).all()
    tokens = [
        each
        for start in range(0, len(rows), AT_ONCE)
        for each in embedder.embed_document_tokens([row.text for row in rows[start : start + AT_ONCE]])[1]
    ]
    judged = read_judgements(folder / "qrels.tsv")
    asked = {
        name: text
        for name, text in read_queries(folder / "queries.jsonl").items()
        if any(gain > 0 for gain in judged.get(name, {}).values())
    }
    questions = [embedder.embed_query_tokens(text)[1] for text in list(asked.values())[:20]]
    exact = [_exact_scores(question, tokens) for question in questions]
    gains: dict[int, list[float]] = {}
    for bits in BITS:
        pack, scores = _format(bits)
        packed = [pack(each) for each in tokens]
        with engine.begin() as connection:
            connection.execute(
                sa.text("UPDATE token_vectors SET packed = :packed WHERE vector = :key"),
                [{"key": row.key, "packed": each} for row, each in zip(rows, packed, strict=True)],
            )
        store_search.late_interaction = scores  # pyright: ignore[reportPrivateImportUsage]
        similar = [
            np.corrcoef(each, scores(asking, packed))[0, 1] for asking, each in zip(questions, exact, strict=True)
        ]
        ranked = run_questions(ways_of_searching(call)[DEFAULT], asked).documents(lambda hit: hit.document_id)
        gains[bits] = [ndcg(ranked[each], judged[each]) for each in asked]
        means = measure(ranked, {each: judged[each] for each in asked})
        size = sum(map(len, packed)) / sum(map(len, tokens))
        print(
            f"{bits or 'floats':>6} bits, {size:7.1f} bytes per token: correlation {np.mean(similar):.3f}, "
            f"nDCG@10 {means['ndcg@10']:.4f}, MRR {means['mrr']:.3f}",
            flush=True,
        )
    for bits in BITS[1:]:
        to_exact, to_current = chance(gains[bits], gains[EXACT]), chance(gains[bits], gains[CURRENT])
        print(f"{bits:>6} bits: p {to_exact:.3f} beside floats, {to_current:.3f} beside {CURRENT} bits")


def _format(bits: int) -> tuple[Callable[[np.ndarray], bytes], Callable[[np.ndarray, Sequence[bytes]], Any]]:
    if bits == EXACT:
        return lambda each: each.astype("<f4").tobytes(), _exact
    token_vectors._BITS = bits  # pyright: ignore[reportPrivateUsage]
    token_vectors._rotation.cache_clear()  # pyright: ignore[reportPrivateUsage]
    return token_vectors.pack, token_vectors.late_interaction


def _exact(question: np.ndarray, passages: Sequence[bytes]) -> list[float]:
    return _exact_scores(question, [np.frombuffer(each, "<f4").reshape(-1, question.shape[1]) for each in passages])


def _exact_scores(question: np.ndarray, tokens: Tokens) -> list[float]:
    return [float((each @ question.T).max(axis=0).mean()) for each in tokens]


if __name__ == "__main__":
    main()
