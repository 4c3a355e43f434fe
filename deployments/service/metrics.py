"""Metrics in Prometheus' format; combined for several worker processes if PROMETHEUS_MULTIPROC_DIR is set."""

import os
from collections.abc import Iterable

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from deployments.freshness import Freshness

CONTENT_TYPE = CONTENT_TYPE_LATEST
MULTIPROCESS = "PROMETHEUS_MULTIPROC_DIR"
_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class Metrics:
    """The number, status and duration of calls, without names of documents and callers."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._calls = Counter(
            "braid_requests", "Requests by route and status.", ("method", "route", "status"), registry=self._registry
        )
        self._seconds = Histogram(
            "braid_request_seconds", "Seconds per request.", ("route",), buckets=_SECONDS, registry=self._registry
        )
        self._here = Gauge(
            "braid_calls_in_progress",
            "Calls that run or wait, by pool.",
            ("pool",),
            registry=self._registry,
            multiprocess_mode="livesum",
        )
        self._refused = Counter(
            "braid_calls_refused", "Calls refused because too many waited.", ("pool",), registry=self._registry
        )

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        self._calls.labels(method, route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def here(self, pool: str, number: int) -> None:
        self._here.labels(pool).set(number)

    def refused(self, pool: str) -> None:
        self._refused.labels(pool).inc()

    def text(self, sources: Iterable[Freshness] = ()) -> bytes:
        """All metrics in Prometheus' format, with the age of each named source."""
        ages = _ages(sources)
        if MULTIPROCESS not in os.environ:
            return generate_latest(self._registry) + ages
        together = CollectorRegistry()
        MultiProcessCollector(together)
        return generate_latest(together) + ages


def _ages(sources: Iterable[Freshness]) -> bytes:
    """The current freshness of sources; a source without a good ingestion has no age and may be stale."""
    registry = CollectorRegistry()

    def gauge(name: str, text: str) -> Gauge:
        return Gauge(f"braid_source_{name}", text, ("source", "index"), registry=registry)

    age = gauge("age_seconds", "Seconds since the last successful ingestion.")
    good_at = gauge("last_success_timestamp_seconds", "When the last successful ingestion ended.")
    promise = gauge("fresh_within_seconds", "How old the last successful ingestion may be.")
    stale = gauge("stale", "Whether that promise is broken.")
    for each in sources:
        for one, value in ((age, each.age_s), (good_at, each.good_at), (promise, each.fresh_within_s)):
            if value is not None:
                one.labels(each.name, each.index).set(value)
        stale.labels(each.name, each.index).set(each.is_stale)
    return generate_latest(registry)
