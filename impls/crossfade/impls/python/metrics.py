"""Owns the counters and latencies that every request touches, and their Prometheus text.

Rule: a request is recorded once, with its server; what is told of the manager as a whole is added up when somebody
asks, the servers that are gone included, so that no total goes backwards.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final

from crossfade.impls.cores.histogram import OCTAVES, Histogram
from crossfade.impls.snapshots import Metrics


class Nowhere(Histogram):
    """Where latencies go while metrics are switched off."""

    __slots__ = ()

    def record(self, ns: int) -> None:
        """Nothing."""


class ServerStats:
    """Counters of one server.

    ``requests`` and ``errors`` count attempts; ``retries`` and ``hedges`` (second copies) tell how many of them were
    not a caller's first. ``rate_limited`` and ``shed`` are part of ``rejected``; ``queued`` waited for a place in the
    bulkhead. Of the reads, ``cache_hits`` were answered from the cache, ``coalesced`` by a request under way, and
    ``cache_misses`` went to the server.
    """

    __slots__ = (
        "cache_hits",
        "cache_misses",
        "coalesced",
        "errors",
        "hedged_wins",
        "hedges",
        "in_flight",
        "queued",
        "rate_limited",
        "rejected",
        "requests",
        "restarts",
        "retries",
        "shed",
    )

    def __init__(self) -> None:
        self.requests = 0
        self.errors = 0
        self.rejected = 0
        self.in_flight = 0
        self.restarts = 0
        self.retries = 0
        self.hedges = 0
        self.hedged_wins = 0
        self.rate_limited = 0
        self.shed = 0
        self.queued = 0
        self.cache_hits = 0
        self.cache_misses = 0
        self.coalesced = 0

    def counts(self) -> dict[str, int]:
        """All of them, by name."""
        return {name: getattr(self, name) for name in self.__slots__}


class Stats:
    """What one manager counts. A request counts when it ends; ``rejected`` ones were never sent.

    ``gone`` sums up the servers that were unregistered, so that no total ever goes backwards.
    """

    __slots__ = ("_gone_latency", "errors_by_code", "gone")

    def __init__(self) -> None:
        self._gone_latency = Histogram()
        self.gone = ServerStats()
        self.errors_by_code: Counter[str] = Counter()

    def latency(self, present: Iterable[Histogram]) -> Histogram:
        """All latencies together: of the servers that are there, and of those that are gone."""
        total = Histogram()
        for histogram in (self._gone_latency, *present):
            total.add(histogram)
        return total

    def retire(self, stats: ServerStats, latency: Histogram) -> None:
        """A server is unregistered."""
        self._gone_latency.add(latency)
        self.gone.requests += stats.requests
        self.gone.errors += stats.errors
        self.gone.rejected += stats.rejected


_PER_SERVER: Final = (
    ("requests_total", "counter", "Attempts that a server answered or failed.", "requests"),
    ("server_errors_total", "counter", "Attempts that a server failed.", "errors"),
    ("rejected_total", "counter", "Requests refused before they were sent.", "rejected"),
    ("rate_limited_total", "counter", "Of these, by a rate limit.", "rate_limited"),
    ("shed_total", "counter", "Of these, by load shedding.", "shed"),
    ("queued_total", "counter", "Requests that waited for a place in the bulkhead.", "queued"),
    ("retries_total", "counter", "Attempts after the first.", "retries"),
    ("hedges_total", "counter", "Second copies of late requests.", "hedges"),
    ("hedged_wins_total", "counter", "Second copies that answered first.", "hedged_wins"),
    ("cache_hits_total", "counter", "Reads answered from the cache.", "cache_hits"),
    ("cache_misses_total", "counter", "Reads that the cache could not answer.", "cache_misses"),
    ("coalesced_total", "counter", "Reads that shared another one's request.", "coalesced"),
    ("in_flight", "gauge", "Requests in flight.", "in_flight"),
    ("connections", "gauge", "Open upstream connections.", "connections"),
)


def prometheus(metrics: Metrics, latencies: Mapping[str, Histogram]) -> bytes:
    """The text format 0.0.4 of a snapshot, with the same names as the ``rust`` variant's."""
    lines: list[str] = []

    def metric(name: str, kind: str, about: str, samples: list[tuple[str, object]]) -> None:
        lines.append(f"# HELP crossfade_{name} {about}")
        lines.append(f"# TYPE crossfade_{name} {kind}")
        lines.extend(f"crossfade_{name}{labels} {value}" for labels, value in samples)

    for name, kind, about, key in _PER_SERVER:
        metric(name, kind, about, [(f'{{server="{s}"}}', counts[key]) for s, counts in metrics.servers.items()])
    by_code = sorted(metrics.errors_by_code.items())
    metric("errors_total", "counter", "Errors by code.", [(f'{{code="{code}"}}', count) for code, count in by_code])
    metric("clients", "gauge", "Open client connections.", [("", metrics.clients)])
    metric("sessions", "gauge", "Sessions of legacy clients.", [("", metrics.sessions)])
    buckets = [line for server, latency in latencies.items() for line in _histogram(server, latency)]
    metric("request_seconds", "histogram", "Latency of requests to servers.", buckets)
    return ("\n".join(lines) + "\n").encode()


def _histogram(server: str, latency: Histogram) -> list[tuple[str, object]]:
    """Cumulative counts below each bound, the sum and the count. Bounds are powers of two of ns, in seconds."""
    count = latency.count
    bounds = [(f'_bucket{{server="{server}",le="{_seconds(1 << o)}"}}', latency.below(o)) for o in OCTAVES]
    return [
        *bounds,
        (f'_bucket{{server="{server}",le="+Inf"}}', count),
        (f'_sum{{server="{server}"}}', _seconds(latency.sum_ns)),
        (f'_count{{server="{server}"}}', count),
    ]


def _seconds(ns: int) -> str:
    """As the native side writes it: digits only, no exponent."""
    return f"{ns / 1e9:.9f}".rstrip("0").rstrip(".")
