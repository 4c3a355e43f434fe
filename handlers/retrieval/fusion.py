"""Rank fusion: combines several rankings of the same chunks, and keeps the score of each retriever."""

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
    """The scores of the candidates by one way of searching; a candidate without a score counts as its lowest.

    A `partial` voice cannot score some candidates; the other voices alone score these.
    """

    name: str
    scores: Mapping[str, float]
    weight: float = 1.0
    partial: bool = False


def weighted_fusion(candidates: Sequence[str], voices: Sequence[Voice]) -> dict[str, float]:
    """The weighted mean of the voices' scores of each candidate, best first; ties by the order of the candidates.

    The scores of each voice are scaled to 0…1, from its lowest to its highest over the candidates. For a candidate that
    a partial voice cannot score, its gain is estimated: the candidate's mean gain from the other voices, plus the mean
    surplus of the scored candidates. So neither group of candidates is preferred.

    Raises:
        ValueError: a weight is negative.
    """
    if any(voice.weight < 0 for voice in voices):
        raise ValueError(f"weights must be 0 or more, not {[voice.weight for voice in voices]}")
    ids = list(dict.fromkeys(candidates))
    known = [voice for voice in voices if not voice.partial or any(each in voice.scores for each in ids)]
    parts = [(each.weight, _scaled([each.scores.get(id_) for id_ in ids])) for each in known if not each.partial]
    others = _means(parts, len(ids))
    for voice in (each for each in known if each.partial):
        scores = [voice.scores.get(each) for each in ids]
        parts.append((voice.weight, _completed(_scaled(scores), [each is not None for each in scores], others)))
    # Sorting is stable, so equal means keep their order.
    return dict(sorted(zip(ids, _means(parts, len(ids)), strict=True), key=lambda pair: -pair[1]))


def shared_ranks(scores: Iterable[float]) -> list[int]:
    """The ranks of scores given best first, counted from 1; equal scores share the first of their ranks."""
    ranks: list[int] = []
    before: float | None = None
    for place, score in enumerate(scores, start=1):
        ranks.append(ranks[-1] if score == before else place)
        before = score
    return ranks


def _ids(rankings: Sequence[Sequence[Hit]]) -> list[list[str]]:
    return [[hit.id for hit in ranking] for ranking in rankings]


def with_own_scores(rankings: Sequence[Sequence[Hit]], fused: Mapping[str, float]) -> list[Hit]:
    """The hits of rankings with their fused scores, in the order of `fused`, each with its retrievers' scores."""
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


def _means(parts: Sequence[tuple[float, Sequence[float]]], count: int) -> list[float]:
    """The weighted means of several lists of gains, in their order."""
    total = fsum(weight for weight, _ in parts) or 1.0
    # fsum does not depend on the order of its terms.
    return [fsum(weight * gains[at] / total for weight, gains in parts) for at in range(count)]


def _completed(gains: Sequence[float], known: Sequence[bool], others: Sequence[float]) -> list[float]:
    """The gains of one voice, with estimates from the other voices where they are unknown; between 0 and 1."""
    more = fsum(gain - other for gain, is_known, other in zip(gains, known, others, strict=True) if is_known)
    mean = more / sum(known)
    return [
        gain if is_known else min(max(other + mean, 0.0), 1.0)
        for gain, is_known, other in zip(gains, known, others, strict=True)
    ]


def _scaled(scores: Sequence[float | None]) -> list[float]:
    known = [score for score in scores if score is not None]
    low, high = min(known, default=0.0), max(known, default=0.0)
    if high <= low:
        return [0.0 if score is None else 1.0 for score in scores]
    return [0.0 if score is None else (score - low) / (high - low) for score in scores]
