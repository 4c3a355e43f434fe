"""Questions during a change of model must neither fail nor mix versions; also measures the time of a switch.

Questions are asked while the new model is built, and after that until all are asked, while the index is switched to and
fro. An answer is mixed if it is not full, or has a score that is not of the model of its version.

`python -m bench.change_of_model --questions 10000 --documents 2000 [--url postgresql://…?index=bench]`
"""

import argparse
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from handlers.records import Chunk, Document, Embeddings, SparseVector, stable_id
from handlers.stores import IndexStore, PinnedIndex, Restatement, TermQuery, VectorQuery, open_index

MODELS = {"old": 384, "new": 384}
WORDS = [f"word{number}" for number in range(5000)]
AT_ONCE, TOP_K = 100, 10


def documents(count: int) -> Iterator[list[tuple[Document, list[Chunk]]]]:
    chance = np.random.default_rng(1)
    batch: list[tuple[Document, list[Chunk]]] = []
    for number in range(count):
        texts = [" ".join(chance.choice(WORDS, 80)) for _ in range(4)]
        batch.append(document(f"d{number}", texts))
        if len(batch) == AT_ONCE:
            yield batch
            batch = []
    if batch:
        yield batch


def document(name: str, texts: Sequence[str]) -> tuple[Document, list[Chunk]]:
    sha = stable_id(*texts) * 2
    made = Document(name, f"{name}.txt", f"file:///{name}.txt", name, "text/plain", "", sha)
    chunks = [
        Chunk(stable_id(name, text), name, place, text, 1000 * place, 1000 * place + len(text))
        for place, text in enumerate(texts)
    ]
    return made, chunks


def embed(chunks: Sequence[Chunk], model: str) -> Embeddings:
    rows = np.stack([vector(chunk.id, model) for chunk in chunks])
    return Embeddings(tuple(chunk.id for chunk in chunks), rows, model)


def vector(text: str, model: str) -> np.ndarray:
    seed = int(stable_id(text, model)[:8], 16)
    made = np.random.default_rng(seed).normal(size=MODELS[model]).astype(np.float32)
    return made / np.linalg.norm(made)


def count_terms(chunks: Sequence[Chunk]) -> list[SparseVector]:
    counted = [(chunk.id, Counter(chunk.text.split())) for chunk in chunks]
    return [SparseVector(id_, tuple(sorted(counts.items())), sum(counts.values())) for id_, counts in counted]


def write(store: Any, batch: Sequence[tuple[Document, list[Chunk]]], model: str, run: str) -> None:
    chunks = [chunk for _, each in batch for chunk in each]
    names = store.put_documents([each for each, _ in batch], chunks, run_id=run, fingerprint=f"vectors={model}")
    store.put_vectors(chunks, embed(chunks, model), run_id=run)
    store.put_terms(chunks, count_terms(chunks), run_id=run)
    store.publish(names, expect=("vectors", "terms"))


def refresh(store: Any, ids: Sequence[str], model: str, run: str) -> None:
    chunks = [chunk for each in ids for chunk in store.chunks_of(each)]
    store.put_vectors(chunks, embed(chunks, model), run_id=run)
    store.restate([Restatement(each, fingerprint=f"vectors={model}", run_id=run) for each in ids])


class Askers:
    """Threads that ask one question after the other, each of one version, and check that it alone has answered."""

    def __init__(self, store: IndexStore, wanted: int) -> None:
        self.store, self.wanted = store, wanted
        self.asked, self.failed, self.mixed = Counter[str](), list[Exception](), 0
        self._next = iter(range(wanted))
        self.threads = [threading.Thread(target=self._ask, args=(number,)) for number in range(2)]
        for each in self.threads:
            each.start()

    @property
    def are_done(self) -> bool:
        return not any(each.is_alive() for each in self.threads)

    def _ask(self, seed: int) -> None:
        chance = np.random.default_rng(seed)
        for _ in self._next:
            try:
                active = self.store.versions()[0]
                self.mixed += not self._is_whole(active.name, active.model, chance)
                self.asked[active.name] += 1
            except Exception as error:
                self.failed.append(error)

    def _is_whole(self, version: str, model: str, chance: np.random.Generator) -> bool:
        """Whether an answer is full, and its scores are those of this version's model."""
        pinned: Any = PinnedIndex(self.store, version)
        query = VectorQuery(vector(str(chance.integers(10**9)), model), model)
        near = pinned.search_vectors(query.vector, top_k=TOP_K, model=model, with_text=False)
        terms = dict.fromkeys(chance.choice(WORDS, 3), 1.0)
        found = pinned.search_terms(terms, top_k=TOP_K, with_text=False)
        ids = {hit.id for hit in (*near, *found)}
        scores = [pinned.scores(ids, each) for each in (query, TermQuery(terms))]
        hits = pinned.hits(dict.fromkeys(ids, 0.0), found_by="")
        own = [abs(score - float(vector(id_, model) @ query.vector)) < 1e-5 for id_, score in scores[0].items()]
        return len(near) == TOP_K and len(own) == len(ids) == len(hits) and all(own)


def timed(action: Any) -> float:
    began = time.perf_counter()
    action()
    return (time.perf_counter() - began) * 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--questions", type=int, default=10_000)
    parser.add_argument("--documents", type=int, default=2_000)
    parser.add_argument("--url")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        store = open_index(options.url or str(Path(folder) / "bench.db"))
        for number, batch in enumerate(documents(options.documents)):
            write(store, batch, "old", f"r{number}")
        print(f"{options.documents} documents, {store.statistics()['chunks']} passages")
        began = time.perf_counter()
        askers = Askers(store, options.questions)
        beside: Any = PinnedIndex(store, store.begin_version("new"))
        beside.note_way("vectors=new")
        ids = [state.id for state in store.document_states(limit=options.documents)]
        for start in range(0, len(ids), AT_ONCE):
            refresh(beside, ids[start : start + AT_ONCE], "new", f"b{start}")
        assert beside.unfinished() == []
        built = sum(askers.asked.values())
        taken: list[float] = []
        while not (askers.are_done and taken):
            for name in (beside.version, "1"):
                taken.append(timed(lambda name=name: store.switch_version(name)))
                time.sleep(0.5)
        cuts = np.percentile(taken, [50, 100])
        print(f"{len(taken)} switches and rollbacks: median {cuts[0]:.1f} ms, longest {cuts[1]:.1f} ms")
        print(
            f"{options.questions} questions in {time.perf_counter() - began:.0f} s, {built} of them while it was built"
        )
        print(f"questions by version: {dict(askers.asked)}, failed {len(askers.failed)}, mixed {askers.mixed}")
        store.close()
        if askers.failed or askers.mixed:
            raise SystemExit(str(askers.failed[:1]))


if __name__ == "__main__":
    main()
