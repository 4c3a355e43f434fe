"""Chooses the batch size of loops with `batch_size: auto`, so that a call lasts about a second."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import ceil, sqrt
from statistics import median
from typing import Any

from flows.model import StepPath

CALL_S = 1.0
"""How many seconds a call for one batch should last."""
CALL_COST_S = 0.02
"""Seconds of overhead per Prefect task run, on the client and the server together."""
MOST_UNKNOWN = 100
"""The largest batch if no earlier run shows how long an item takes."""


@dataclass(frozen=True)
class BatchSize:
    """Items per batch, and the reason for that size."""

    items: int
    reason: str


def choose_batch_size(count: int, *, at_once: int, item_s: float | None) -> BatchSize:
    """The batch size for `count` items with `at_once` batches in parallel; `item_s` is the recorded seconds per item.

    Usually a call lasts about a second. Work of less than a second is split only as far as parallelism saves more time
    than the calls cost: for W seconds of work and c seconds per call, into sqrt(W / c) batches.
    """
    if item_s is None:
        size = min(MOST_UNKNOWN, ceil(count / at_once))
        return BatchSize(max(1, size), f"{at_once} batches at once; no earlier run recorded the time per item")
    work_s = count * item_s
    batches = max(ceil(work_s / CALL_S), min(at_once, round(sqrt(work_s / CALL_COST_S))), 1)
    if batches > at_once:  # the same number of rounds, with equally large batches
        batches = ceil(batches / at_once) * at_once
    return BatchSize(max(1, ceil(count / batches)), f"an item took {_seconds(item_s)} in earlier runs")


def item_seconds(rows: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """By path of a loop, the seconds per item of its slowest step in recorded calls.

    Rows have `path`, `seconds`, and the `batch_size` of the innermost loop around the call.
    """
    taken: dict[str, dict[str, list[float]]] = {}
    for row in rows:
        path = StepPath(row["path"])
        loop = path.loop
        if loop is not None and row.get("batch_size"):
            steps = taken.setdefault(loop.plain, {})
            steps.setdefault(path.plain, []).append(row["seconds"] / row["batch_size"])
    return {loop: max(map(median, steps.values())) for loop, steps in taken.items()}


def _seconds(item_s: float) -> str:
    return f"{item_s:.3g} s" if item_s >= 1 else f"{item_s * 1000:.3g} ms"
