"""Made-up passages for the benches of searching: the same for every store and library, made again part by part.

Words are drawn as those of texts are, few often and most rarely, vectors at random. Documents have ten passages; their
tag `team` lets through one in a hundred, `half` one in two. Questions are vectors like those of passages, and eight
words, of which the most frequent are left out, as stop words are. Vectors that are `alike` have as much in common as
those of texts have: 48 numbers decide, and a quarter of their length is noise.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from handlers.records import Chunk, Document, Embeddings, SparseVector, stable_id
from handlers.stores import IndexWriter
from handlers.tags import TagFilter

MODEL, DIMENSIONS = "random", 384
PART, PASSAGES, WORDS, VOCABULARY = 100, 10, 120, 20_000
_RARER, _ASKED = 100, 8
_DECISIVE, _NOISE = 48, 0.1
FILTERS = {"": TagFilter(), "1 %": TagFilter.of({"team": "7"}), "50 %": TagFilter.of({"half": "1"})}


@dataclass(frozen=True)
class Part:
    """A thousand passages of a hundred documents."""

    first: int
    """The number of the first document."""
    ranks: np.ndarray
    vectors: np.ndarray

    def words(self, passage: int) -> list[str]:
        return [f"word{rank}" for rank in self.ranks[passage]]


def parts(passages: int, first: int = 0, *, alike: bool = False) -> Iterator[Part]:
    """The parts of so many passages, from a document on."""
    for document in range(first, passages // PASSAGES, PART):
        rng = np.random.default_rng(document)
        ranks = rng.zipf(1.3, (PART * PASSAGES, WORDS)) % VOCABULARY
        yield Part(document, ranks, _vectors(rng, PART * PASSAGES, alike=alike))


def _vectors(rng: np.random.Generator, count: int, *, alike: bool) -> np.ndarray:
    made = rng.normal(size=(count, DIMENSIONS)).astype(np.float32)
    if alike:
        basis = np.random.default_rng(1).normal(size=(_DECISIVE, DIMENSIONS)).astype(np.float32)
        basis /= np.linalg.norm(basis, axis=1, keepdims=True)
        made = rng.normal(size=(count, _DECISIVE)).astype(np.float32) @ basis + np.float32(_NOISE) * made
    return made / np.linalg.norm(made, axis=1, keepdims=True)


def tags_of(document: int) -> tuple[tuple[str, str], ...]:
    return (("team", str(document % 100)), ("half", str(document % 2)))


def permitted(passages: int, name: str) -> np.ndarray:
    """Which passages a filter of `FILTERS` lets through."""
    documents = np.arange(passages) // PASSAGES
    if not name:
        return np.ones(passages, dtype=bool)
    return documents % 100 == 7 if name == "1 %" else documents % 2 == 1


def questions(count: int, *, alike: bool = False) -> Iterator[tuple[np.ndarray, dict[str, float]]]:
    for number in range(count):
        rng = np.random.default_rng(1_000_000_000 + number)
        vector = _vectors(rng, 1, alike=alike)[0]
        ranks = _RARER + rng.zipf(1.3, _ASKED) % (VOCABULARY - _RARER)
        yield vector, {f"word{rank}": 1.0 for rank in ranks}


def store_part(store: IndexWriter, part: Part, *, documents: int = PART, prefix: str = "d") -> None:
    """Store and publish the first documents of a part."""
    made: list[Document] = []
    chunks: list[Chunk] = []
    sparse: list[SparseVector] = []
    for number in range(documents):
        name, texts, start = f"{prefix}{part.first + number}", list[str](), 0
        for position in range(PASSAGES):
            words = part.words(number * PASSAGES + position)
            text = " ".join(words)
            chunk = Chunk(stable_id(name, str(position), text), name, position, text, start, start + len(text))
            chunks.append(chunk)
            sparse.append(SparseVector(chunk.id, tuple(sorted(Counter(words).items())), len(words)))
            texts.append(text)
            start += len(text) + 1
        body = "\n".join(texts)
        tags = tags_of(part.first + number)
        made.append(Document(name, f"{name}.txt", "", "", "text/plain", body, stable_id(body), tags=tags))
    ids = tuple(chunk.id for chunk in chunks)
    names = store.put_documents(made, chunks, run_id="bench")
    store.put_vectors(chunks, Embeddings(ids, part.vectors[: len(ids)], MODEL), run_id="bench")
    store.put_terms(chunks, sparse, run_id="bench")
    store.publish(names, expect=("vectors", "terms"))


def worst_products(passages: int, count: int, top_k: int, *, alike: bool = False) -> dict[str, list[float]]:
    """The product of the last of the truly nearest passages to each question, by filter."""
    asked = np.stack([vector for vector, _ in questions(count, alike=alike)])
    masks = {name: permitted(passages, name) for name in FILTERS}
    best = {name: np.zeros((count, 0)) for name in FILTERS}
    for part in parts(passages, alike=alike):
        products = asked @ part.vectors.T
        numbers = part.first * PASSAGES + np.arange(len(part.vectors))
        for name, mask in masks.items():
            together = np.concatenate([best[name], products[:, mask[numbers]]], axis=1)
            best[name] = np.sort(together, axis=1)[:, -top_k:]
    return {name: products[:, 0].tolist() for name, products in best.items()}


def recall(scores: Sequence[float], worst: float, top_k: int) -> float:
    """The share of the truly nearest among those that were found with these products."""
    return min(1.0, sum(score >= worst - 1e-5 for score in scores) / top_k)
