"""Metrics in Prometheus' form; of several worker processes together, if PROMETHEUS_MULTIPROC_DIR is set."""

import os

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

CONTENT_TYPE = CONTENT_TYPE_LATEST
MULTIPROCESS = "PROMETHEUS_MULTIPROC_DIR"
_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class Metrics:
    """How many calls there were, how they ended, and how long they took. No name of an index, document or caller."""

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

    def text(self) -> bytes:
        """All metrics as Prometheus reads them."""
        if MULTIPROCESS not in os.environ:
            return generate_latest(self._registry)
        together = CollectorRegistry()
        MultiProcessCollector(together)
        return generate_latest(together)
