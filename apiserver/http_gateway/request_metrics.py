"""Counters of the HTTPS door, under upstream's names.

Source: k8s.io/apiserver pkg/endpoints/metrics/metrics.go.
"""

from functools import cache

import prometheus_client
from prometheus_client import Counter, Histogram

_REQUESTS = Counter(
    "apiserver_request_total", "HTTP requests answered, by method and code.", ("verb", "code")
)
_DURATION = Histogram(
    "apiserver_request_duration_seconds",
    "Time until a response was ready; watches count when they end.",
    ("verb",),
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0),
)
_KNOWN_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"})


@cache
def _requests(method: str, code: int) -> Counter:
    return _REQUESTS.labels(method, str(code))


@cache
def _duration(method: str) -> Histogram:
    return _DURATION.labels(method)


def observe(method: str, code: int, elapsed_s: float) -> None:
    verb = method if method in _KNOWN_METHODS else "OTHER"
    _requests(verb, code).inc()
    _duration(verb).observe(elapsed_s)


def exposition() -> bytes:
    """All of the process' metrics, in Prometheus' text form."""
    return prometheus_client.generate_latest()
