"""Extractive summaries: the most representative sentences of a document, in their order."""

import re
from collections.abc import Sequence

import numpy as np

from flows.author import Call, handler
from handlers.aside import name_of, one_by_one, remaining
from handlers.records import Document
from handlers.text import terms

MOST_SENTENCES = 400
_DAMPING = 0.85
_ROUNDS = 50
_SENTENCE_END = re.compile(r"(?<=[.!?])[\"')\]]*\s+(?=[\"'(\[]?[A-ZÀ-ÖØ-Þ0-9])|(?<=[。！？])")


@handler(writes="summaries")
def generate_summary(documents: Sequence[Document], *, sentences: int = 3, call: Call) -> dict[str, str]:
    """One summary per document, by document id; documents without prose have none."""

    def summary(document: Document) -> tuple[str, str]:
        return document.id, " ".join(summarise(prose_sentences(document), sentences=sentences))

    left = remaining(documents, call)
    done = one_by_one(summary, left, name_of, call, doing="summarising it")
    return {document_id: text for document_id, text in done if text}


def prose_sentences(document: Document) -> list[str]:
    """The sentences of a document's paragraphs, white space collapsed; other blocks are not prose."""
    found: list[str] = []
    for block in document.blocks:
        if block.kind == "paragraph":
            text = " ".join(document.text[block.start : block.end].split())
            found.extend(part for part in split_sentences(text) if len(part.split()) >= 5 or len(part) > 30)
        if len(found) >= MOST_SENTENCES:
            return found[:MOST_SENTENCES]
    return found


def split_sentences(text: str) -> list[str]:
    """The sentences of a text, white space at their ends left out."""
    return [part.strip() for part in _SENTENCE_END.split(text) if part.strip()]


def summarise(found: Sequence[str], *, sentences: int = 3) -> list[str]:
    """The `sentences` highest-ranked ones, in their order; ties go to the one that comes first.

    TextRank over the cosine of TF-IDF vectors. Source: Mihalcea & Tarau, EMNLP 2004.
    """
    if len(found) <= sentences:
        return list(found)
    ranks = _ranks(_similarities(found))
    # Rounded, so that rounding errors do not decide between equal scores.
    best = sorted(range(len(found)), key=lambda i: (-round(float(ranks[i]), 9), i))[:sentences]
    return [found[i] for i in sorted(best)]


def _similarities(found: Sequence[str]) -> np.ndarray:
    """Cosines between TF-IDF vectors; float64, shape (n, n), zeros on the diagonal."""
    words = [terms(sentence) for sentence in found]
    columns = {word: column for column, word in enumerate(sorted({word for sentence in words for word in sentence}))}
    counts = np.zeros((max(1, len(columns)), len(found)))
    for row, sentence in enumerate(words):
        for word in sentence:
            counts[columns[word], row] += 1.0
    counts *= np.log((1 + len(found)) / (1 + np.count_nonzero(counts, axis=1, keepdims=True)))
    norms = np.linalg.norm(counts, axis=0)
    np.divide(counts, norms, out=counts, where=norms > 0)
    cosines = counts.T @ counts
    np.fill_diagonal(cosines, 0.0)
    return cosines


def _ranks(similarities: np.ndarray) -> np.ndarray:
    count = len(similarities)
    totals = similarities.sum(axis=0, keepdims=True)
    moves = np.divide(similarities, totals, out=np.full_like(similarities, 1.0 / count), where=totals > 0)
    ranks = np.full(count, 1.0 / count)
    for _ in range(_ROUNDS):
        ranks = (1 - _DAMPING) / count + _DAMPING * (moves @ ranks)
    return ranks
