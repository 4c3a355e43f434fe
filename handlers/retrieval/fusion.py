"""Rank fusion: several rankings of the same chunks become one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import fsum

from handlers.records import Hit


def reciprocal_rank_fusion(
    rankings: Sequence[Sequence[Hit]], *, k: int = 60, weights: Sequence[float] | None = None
) -> list[Hit]:
    """Fuse rankings into one list, best first; ties keep the order of `rankings`.

    A hit scores the sum over rankings of 1 / (k + rank), rank counted from 1, times the ranking's weight if given.
    It keeps every source's own score in `scores`, and the sources' names, joined by +, in `source`.

    Raises:
        ValueError: `k` is below 1, or `weights` do not fit.
    Source: Cormack, Clarke & Buettcher, SIGIR 2009.
    """
    if k < 1:
        raise ValueError(f"k must be 1 or more, not {k}")
    gains = [[1.0 / (k + rank) for rank in range(1, len(ranking) + 1)] for ranking in rankings]
    return _fuse(rankings, gains, weights)


def weighted_fusion(rankings: Sequence[Sequence[Hit]], *, weights: Sequence[float] | None = None) -> list[Hit]:
    """Fuse by the weighted sum of each ranking's scores, scaled to 0…1 (its worst hit to its best); ties as in RRF.

    Raises:
        ValueError: `weights` do not fit.
    """
    return _fuse(rankings, [_scaled([hit.score for hit in ranking]) for ranking in rankings], weights)


@dataclass
class _Fused:
    hit: Hit
    gains: list[float] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)
    scores: dict[str, float] = field(default_factory=dict)


def _fuse(
    rankings: Sequence[Sequence[Hit]], gains: Sequence[Sequence[float]], weights: Sequence[float] | None
) -> list[Hit]:
    chosen = [1.0] * len(rankings) if weights is None else list(weights)
    if len(chosen) != len(rankings) or any(weight < 0 for weight in chosen):
        raise ValueError(f"{len(rankings)} rankings need as many weights of 0 or more, not {chosen}")
    fused: dict[str, _Fused] = {}
    for ranking, gained, weight in zip(rankings, gains, chosen, strict=True):
        seen: set[str] = set()
        for hit, gain in zip(ranking, gained, strict=True):
            if hit.id in seen:
                continue  # a ranking votes once for a hit: where it stands first
            seen.add(hit.id)
            entry = fused.setdefault(hit.id, _Fused(hit))
            entry.gains.append(weight * gain)
            entry.sources += [source for source in hit.source.split("+") if source not in entry.sources]
            entry.scores.update({**_own_scores(hit), **entry.scores})
    # fsum does not depend on the order of its terms, and sorting is stable: equal sums stay in order of appearance.
    results = [
        replace(each.hit, score=fsum(each.gains), source="+".join(each.sources), scores=each.scores)
        for each in fused.values()
    ]
    return sorted(results, key=lambda hit: -hit.score)


def _own_scores(hit: Hit) -> Mapping[str, float]:
    return hit.scores or {hit.source: hit.score}


def _scaled(scores: Sequence[float]) -> list[float]:
    if not scores:
        return []
    low, high = min(scores), max(scores)
    return [(score - low) / (high - low) if high > low else 1.0 for score in scores]
