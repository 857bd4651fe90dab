"""Owns the counters and the latency histogram that every request touches, and their Prometheus text.

The histogram is log-linear: eight buckets per power of two of nanoseconds, so a quantile is at most 12.5 % too high and
recording is one shift and one addition. Rule: recording never allocates and never raises.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

from crossfade.impls.snapshots import Metrics

_SUB_BITS: Final = 3
_SUB: Final = 1 << _SUB_BITS
_SIZE: Final = 64 * _SUB
QUANTILES: Final = (("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p999", 0.999))


class Histogram:
    """Latencies in nanoseconds."""

    __slots__ = ("buckets", "count", "max_ns", "sum_ns")

    def __init__(self) -> None:
        self.buckets = [0] * _SIZE
        self.count = 0
        self.sum_ns = 0
        self.max_ns = 0

    def record(self, ns: int) -> None:
        """Count one latency."""
        shift = ns.bit_length() - _SUB_BITS - 1
        self.buckets[(shift << _SUB_BITS) + (ns >> shift) if shift > 0 else ns if ns > 0 else 0] += 1
        self.count += 1
        self.sum_ns += ns
        self.max_ns = max(self.max_ns, ns)

    def quantile(self, q: float) -> int:
        """The upper edge of the bucket that holds the ``q`` quantile, at most the maximum; 0 without data."""
        rank = q * self.count
        seen = 0
        for index, count in enumerate(self.buckets):
            seen += count
            if count and seen >= rank:
                return min(_upper(index), self.max_ns)
        return 0

    def summary(self) -> dict[str, int]:
        """``count``, ``mean``, the quantiles and ``max``, in nanoseconds."""
        mean = self.sum_ns // self.count if self.count else 0
        return {
            "count": self.count,
            "mean": mean,
            **{name: self.quantile(q) for name, q in QUANTILES},
            "max": self.max_ns,
        }


def _upper(index: int) -> int:
    """The largest latency that falls into a bucket."""
    if index < 2 * _SUB:
        return index
    shift = (index >> _SUB_BITS) - 1
    return (((index & (_SUB - 1)) + _SUB + 1) << shift) - 1


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


class Stats:
    """What one manager counts. A request counts when it ends; ``rejected`` ones were never sent.

    ``gone`` sums up the servers that were unregistered, so that no total ever goes backwards.
    """

    __slots__ = ("errors_by_code", "gone", "latency")

    def __init__(self) -> None:
        self.latency = Histogram()
        self.gone = ServerStats()
        self.errors_by_code: Counter[str] = Counter()

    def retire(self, stats: ServerStats) -> None:
        """A server is unregistered."""
        self.gone.requests += stats.requests
        self.gone.errors += stats.errors
        self.gone.rejected += stats.rejected


_PER_SERVER: Final = (
    ("requests_total", "counter", "Requests that a server answered or failed.", "requests"),
    ("server_errors_total", "counter", "Requests that a server failed.", "errors"),
    ("rejected_total", "counter", "Requests refused before they were sent.", "rejected"),
    ("cache_hits_total", "counter", "Reads answered from the cache.", "cache_hits"),
    ("cache_misses_total", "counter", "Reads that could be kept and were sent.", "cache_misses"),
    ("coalesced_total", "counter", "Reads answered by a request that was under way.", "coalesced"),
    ("in_flight", "gauge", "Requests in flight.", "in_flight"),
    ("connections", "gauge", "Open upstream connections.", "connections"),
)


def prometheus(metrics: Metrics, latency: Histogram) -> bytes:
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
    samples: list[tuple[str, object]] = [(f'{{quantile="{q}"}}', latency.quantile(q) / 1e9) for _, q in QUANTILES]
    samples += [("_sum", latency.sum_ns / 1e9), ("_count", latency.count)]
    metric("request_seconds", "summary", "Latency of requests to servers.", samples)
    return ("\n".join(lines) + "\n").encode()
