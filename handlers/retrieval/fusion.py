"""Rank fusion: several rankings of the same chunks become one, and every retriever's own score is kept."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import fsum

from flows.author import summed_gains
from handlers.records import Hit


def reciprocal_rank_fusion(
    rankings: Sequence[Sequence[Hit]], *, k: int = 60, weights: Sequence[float] | None = None
) -> list[Hit]:
    """Fuse rankings into one list, best first, by the weighted sums of 1 / (k + rank); ties keep the order of rankings.

    Ranks are counted from 1, and hits with equal scores share one.
    A hit keeps every retriever's own score in `scores`, and the retrievers' names, joined by +, in `found_by`.

    Raises:
        ValueError: `k` is below 1, or `weights` do not fit.
    Source: Cormack, Clarke & Buettcher, SIGIR 2009.
    """
    if k < 1:
        raise ValueError(f"k must be 1 or more, not {k}")
    gains = [[1.0 / (k + rank) for rank in shared_ranks(hit.score for hit in ranking)] for ranking in rankings]
    return with_own_scores(rankings, summed_gains(_ids(rankings), gains, weights=weights))


@dataclass(frozen=True)
class Voice:
    """How one way of searching scores the candidates; one that it has no score of counts as its lowest."""

    name: str
    scores: Mapping[str, float]
    weight: float = 1.0


def weighted_fusion(candidates: Sequence[str], voices: Sequence[Voice]) -> dict[str, float]:
    """The weighted mean of the voices' scores of each candidate, best first; ties by the order of the candidates.

    The scores of each voice are scaled to 0…1, from its lowest to its highest over the candidates.

    Raises:
        ValueError: a weight is negative.
    """
    if any(voice.weight < 0 for voice in voices):
        raise ValueError(f"weights must be 0 or more, not {[voice.weight for voice in voices]}")
    total = fsum(voice.weight for voice in voices) or 1.0
    gains = {each: list[float]() for each in candidates}
    for voice in voices:
        for each, gain in zip(gains, _scaled([voice.scores.get(each) for each in gains]), strict=True):
            gains[each].append(voice.weight * gain / total)
    # fsum does not depend on the order of its terms, and sorting is stable, so equal sums keep their order.
    fused = {each: fsum(gained) for each, gained in gains.items()}
    return dict(sorted(fused.items(), key=lambda pair: -pair[1]))


def shared_ranks(scores: Iterable[float]) -> list[int]:
    """The ranks of scores that come best first, counted from 1; equal scores share the first of their ranks."""
    ranks: list[int] = []
    before: float | None = None
    for place, score in enumerate(scores, start=1):
        ranks.append(ranks[-1] if score == before else place)
        before = score
    return ranks


def _ids(rankings: Sequence[Sequence[Hit]]) -> list[list[str]]:
    return [[hit.id for hit in ranking] for ranking in rankings]


def with_own_scores(rankings: Sequence[Sequence[Hit]], fused: Mapping[str, float]) -> list[Hit]:
    """The hits of rankings with their fused scores, in that order; each has its retrievers with their scores."""
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


def _scaled(scores: Sequence[float | None]) -> list[float]:
    known = [score for score in scores if score is not None]
    low, high = min(known, default=0.0), max(known, default=0.0)
    if high <= low:
        return [0.0 if score is None else 1.0 for score in scores]
    return [0.0 if score is None else (score - low) / (high - low) for score in scores]
