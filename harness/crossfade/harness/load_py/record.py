"""What a run of the Python generator leaves behind: verdicts, counts, histograms, the series.

The rule is that of the native recorder: in an open loop a request counts by when it was due, in a closed one by when
its answer came; throughput and the series count arrivals. See ``crossfade.harness.load``.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from crossfade.harness.hdr import Histogram

NEVER = 1 << 63
"""When a request ends that is not answered any more."""


@dataclass
class Record:
    """The window from ``start`` to ``end`` (monotonic nanoseconds), and all that fell into it."""

    open: bool
    start: int
    end: int
    sent: int = 0
    missed: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    latency: list[int] = field(default_factory=list)
    service: list[int] = field(default_factory=list)
    lag: list[int] = field(default_factory=list)
    arrived: list[tuple[int, int | None]] = field(default_factory=list)
    by_method: Counter[str] = field(default_factory=Counter)
    cancelled: int = 0
    events: int = 0
    sessions: list[int] = field(default_factory=list)
    last: int = 0

    def measured(self, at: int) -> bool:
        return self.start <= at < self.end

    def ended(self, due: int, sent: int, end: int, kind: str | None, *, method: str = "call", events: int = 0) -> None:
        counts = self.measured(due if self.open else end)
        if counts:
            self.last = max(self.last, end)
        if kind == "cancelled":
            self.cancelled += counts
            return
        if self.measured(end):
            self.arrived.append((end - self.start, None if kind else end - due))
        if not counts:
            return
        if kind:
            self.errors[kind] += 1
        else:
            self.latency.append(end - due)
            self.service.append(end - sent)
            self.by_method[method] += 1
            self.events += events

    def renewed(self, begin: int, end: int) -> None:
        """A session was ended and its successor is up."""
        if self.measured(end):
            self.sessions.append(end - begin)

    def over(self) -> int:
        """How many requests of the window have come to an end."""
        return len(self.latency) + self.cancelled + self.errors.total()

    def drain_ms(self) -> float | None:
        """From the start of the window to the last end of a request; None if one has none."""
        return None if self.missed or self.last == NEVER else (self.last - self.start) / 1e6

    def result(self, cpu_s: float, **more: Any) -> str:
        """The result event; ``more`` are keys that only such a plan has."""
        duration_s = (self.end - self.start) / 1e9
        bins: list[list[int | None]] = [[] for _ in range(-(-(self.end - self.start) // 100_000_000))]
        for at, latency in self.arrived:
            bins[at // 100_000_000].append(latency)
        series = [_bin((index + 1) * 100, found) for index, found in enumerate(bins)]
        blobs = {"latency": _blob(self.latency), "service": _blob(self.service), "lag": _blob(self.lag)}
        counts = {"sent": self.sent, "completed": len(self.latency), "errors": dict(self.errors)}
        if self.sessions:
            more["session_latency"] = _blob(self.sessions)
        return json.dumps(
            {
                "event": "result",
                "generator": "python",
                **counts,
                "mismatches": self.errors["mismatch"],
                "missed_sends": self.missed,
                "duration_s": duration_s,
                "throughput_per_s": sum(latency is not None for _, latency in self.arrived) / duration_s,
                **blobs,
                "series": series,
                "generator_cpu_s": cpu_s,
                "by_method": dict(self.by_method),
                "cancelled": self.cancelled,
                "events": self.events,
                "events_per_s": self.events / duration_s,
                "sessions": len(self.sessions),
                **more,
            }
        )


def _blob(values: list[int]) -> str:
    histogram = Histogram()
    histogram.record_all(values)
    return histogram.encode()


def _bin(t_ms: int, found: list[int | None]) -> dict[str, float]:
    good = sorted(latency for latency in found if latency is not None)
    p50, p99 = (good[math.ceil(len(good) * q / 100) - 1] / 1000 if good else 0.0 for q in (50, 99))
    return {"t_ms": t_ms, "completed": len(good), "errors": len(found) - len(good), "p50_us": p50, "p99_us": p99}
