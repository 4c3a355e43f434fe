"""Rank fusion: several rankings of the same chunks become one, and every retriever's own score is kept."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from flows.author import reciprocal_ranks, summed_gains
from handlers.records import Hit


def reciprocal_rank_fusion(
    rankings: Sequence[Sequence[Hit]], *, k: int = 60, weights: Sequence[float] | None = None
) -> list[Hit]:
    """Fuse rankings into one list, best first, by `flows.author.ranks.reciprocal_ranks`.

    A hit keeps every retriever's own score in `scores`, and the retrievers' names, joined by +, in `found_by`.

    Raises:
        ValueError: `k` is below 1, or `weights` do not fit.
    """
    return _with_own_scores(rankings, reciprocal_ranks(_ids(rankings), k=k, weights=weights))


def weighted_fusion(rankings: Sequence[Sequence[Hit]], *, weights: Sequence[float] | None = None) -> list[Hit]:
    """Fuse by the weighted sum of each ranking's scores, scaled to 0…1 (its worst hit to its best); ties as in RRF.

    Raises:
        ValueError: `weights` do not fit.
    """
    gains = [_scaled([hit.score for hit in ranking]) for ranking in rankings]
    return _with_own_scores(rankings, summed_gains(_ids(rankings), gains, weights=weights))


def _ids(rankings: Sequence[Sequence[Hit]]) -> list[list[str]]:
    return [[hit.id for hit in ranking] for ranking in rankings]


def _with_own_scores(rankings: Sequence[Sequence[Hit]], fused: Mapping[str, float]) -> list[Hit]:
    first: dict[str, Hit] = {}
    retrievers: dict[str, dict[str, None]] = {}
    scores: dict[str, dict[str, float]] = {}
    for hit in (hit for ranking in rankings for hit in ranking):
        first.setdefault(hit.id, hit)
        retrievers.setdefault(hit.id, {}).update(dict.fromkeys(hit.found_by.split("+")))
        for retriever, score in hit.own_scores.items():
            scores.setdefault(hit.id, {}).setdefault(retriever, score)
    return [
        replace(first[each], score=score, found_by="+".join(retrievers[each]), scores=scores[each])
        for each, score in fused.items()
    ]


def _scaled(scores: Sequence[float]) -> list[float]:
    if not scores:
        return []
    low, high = min(scores), max(scores)
    return [(score - low) / (high - low) if high > low else 1.0 for score in scores]
