"""Fuses rankings: the gains of an item in several rankings add up to one score."""

from collections.abc import Callable, Hashable, Sequence
from math import fsum
from typing import Any, TypeVar

Item = TypeVar("Item", bound=Hashable)


def reciprocal_ranks(
    rankings: Sequence[Sequence[Item]], *, k: int = 60, weights: Sequence[float] | None = None
) -> dict[Item, float]:
    """The score of every item, best first; ties keep the order of `rankings`, then of ranks.

    The score is the sum over rankings of 1 / (k + rank), times the weight of the ranking; ranks are counted from 1.

    Raises:
        ValueError: `k` is below 1, or `weights` do not fit.
    Source: Cormack, Clarke & Buettcher, SIGIR 2009.
    """
    if k < 1:
        raise ValueError(f"k must be 1 or more, not {k}")
    gains = [[1.0 / (k + rank) for rank in range(1, len(ranking) + 1)] for ranking in rankings]
    return summed_gains(rankings, gains, weights=weights)


def fuse_by_key(
    rankings: Sequence[Sequence[Any]],
    key: Callable[[Any], Hashable],
    *,
    k: int = 60,
    weights: Sequence[float] | None = None,
) -> list[Any]:
    """The items of rankings as one, best first by `reciprocal_ranks` of their keys; each as the first ranking has it.

    Raises:
        ValueError: as `reciprocal_ranks`.
    """
    items: dict[Hashable, Any] = {}
    for item in (item for ranking in rankings for item in ranking):
        items.setdefault(key(item), item)
    keys = [[key(item) for item in ranking] for ranking in rankings]
    return [items[each] for each in reciprocal_ranks(keys, k=k, weights=weights)]


def summed_gains(
    rankings: Sequence[Sequence[Item]], gains: Sequence[Sequence[float]], *, weights: Sequence[float] | None = None
) -> dict[Item, float]:
    """The weighted sum of the gains of each item, best first; ties as in `reciprocal_ranks`.

    If an item is in a ranking several times, only its best rank counts.

    Raises:
        ValueError: the number of `weights` is not that of `rankings`, or a weight is negative.
    """
    chosen = [1.0] * len(rankings) if weights is None else list(weights)
    if len(chosen) != len(rankings) or any(weight < 0 for weight in chosen):
        raise ValueError(f"{len(rankings)} rankings need as many weights of 0 or more, not {chosen}")
    votes: dict[Item, list[float]] = {}
    for ranking, gained, weight in zip(rankings, gains, chosen, strict=True):
        first: dict[Item, float] = {}
        for item, gain in zip(ranking, gained, strict=True):
            first.setdefault(item, gain)
        for item, gain in first.items():
            votes.setdefault(item, []).append(weight * gain)
    # fsum does not depend on the order of its terms, and sorting is stable, so equal sums keep their order.
    scores = {item: fsum(gained) for item, gained in votes.items()}
    return dict(sorted(scores.items(), key=lambda pair: -pair[1]))
