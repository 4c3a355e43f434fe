"""The parameters, formulas and orderings of searches, the same in every store."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from flows.errors import FatalError
from handlers.options import Options


@dataclass(frozen=True)
class Bm25(Options):
    """The parameters of BM25: how fast repetitions of a term saturate (`k1`), and how much long chunks are penalised
    (`b`).
    """

    k1: float = 1.2
    b: float = 0.75


BM25 = Bm25()


@dataclass(frozen=True)
class VectorQuery:
    """A question by meaning: float32, shape (dim,), and the model that made it."""

    vector: np.ndarray
    model: str | None = None


@dataclass(frozen=True)
class TermQuery:
    """A question by words: the weight of each term."""

    weights: Mapping[str, float]
    bm25: Bm25 = BM25


@dataclass(frozen=True)
class TokenQuery:
    """A question token by token: float32, shape (tokens, dim), rows of L2 norm 1, and the model that made them."""

    tokens: np.ndarray
    model: str


@dataclass(frozen=True)
class Words:
    """Limits a search to passages that have all terms of `every` and no term of `none`."""

    every: tuple[str, ...] = ()
    none: tuple[str, ...] = ()

    def permit(self, has: Collection[str]) -> bool:
        """Whether a passage with these terms is permitted."""
        return all(term in has for term in self.every) and not any(term in has for term in self.none)


ANY = Words()


def bm25_idf(documents: int, containing: int) -> float:
    """The weight of a term that `containing` of `documents` chunks have: ln(1 + (N - n + 0.5) / (n + 0.5)).

    Source: Robertson & Zaragoza, The Probabilistic Relevance Framework, 2009, with Lucene's 1 + that keeps it positive.
    """
    return math.log1p((documents - containing + 0.5) / (containing + 0.5))


def choose_model(models: Sequence[str], wanted: str | None) -> str | None:
    """The model whose vectors a query compares with: the wanted one, else the only one; None in an empty index.

    Raises:
        FatalError: the index has vectors, but none of the wanted model; or of several models, and none is wanted.
    """
    if wanted in models:
        return wanted
    if not models or (wanted is None and len(models) == 1):
        return models[0] if models else None
    lacking = f"none of model {wanted!r}" if wanted is not None else "the query names no model"
    raise FatalError(
        f"the index has vectors of {', '.join(map(repr, models))}, and {lacking}: "
        "search with the model that the index was made with, or ingest again"
    )


def check_dimensions(of_query: int, of_index: int) -> None:
    """Refuse to compare vectors of different lengths.

    Raises:
        FatalError: the lengths differ.
    """
    if of_query != of_index:
        raise FatalError(
            f"the query's vector has {of_query} dimensions and the index's {of_index}: "
            "search with the model that the index was made with, or ingest again"
        )


def contenders(scores: np.ndarray, top_k: int) -> np.ndarray:
    """Positions of the `top_k` greatest scores and of all that tie with the last of them, in no order."""
    if top_k <= 0 or not len(scores):
        return np.arange(0)
    if len(scores) <= top_k:
        return np.arange(len(scores))
    return np.flatnonzero(scores >= np.partition(scores, len(scores) - top_k)[len(scores) - top_k])


def best(keys: np.ndarray, scores: np.ndarray, top_k: int) -> list[int]:
    """Positions of the `top_k` greatest scores, best first; ties by key."""
    # Include everything that ties with the last rank, so that the result does not depend on the order of rows.
    candidates = contenders(scores, top_k)
    return candidates[np.lexsort((keys[candidates], -scores[candidates]))][: max(top_k, 0)].tolist()
