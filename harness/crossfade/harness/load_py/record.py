"""What a run of the Python generator leaves behind: verdicts, counts, histograms, the series.

The rule is that of the native recorder: in an open loop a request counts by when it was due, in a closed one by when
its answer came; throughput and the series count arrivals. See ``crossfade.harness.load``.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import dataclass, field

from crossfade.harness.hdr import Histogram


def judge(status: int, body: bytes, ident: int, text: str | None) -> str | None:  # noqa: PLR0911 - one per kind
    """The kind of error of an answer, or None; ``text`` is what must come back, if it is to be compared."""
    if status != 200:
        return f"http_{status}"
    try:
        message = json.loads(body)
        if "error" in message:
            return f"rpc_{int(message['error']['code'])}"
        result = message["result"]
        if message["id"] != ident:
            return "mismatch"
        if result.get("isError"):
            return "tool_error"
        if text is not None and (not result.get("content") or result["content"][0].get("text") != text):
            return "mismatch"
    except (ValueError, KeyError, TypeError, AttributeError):
        return "garbage"
    return None


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

    def measured(self, at: int) -> bool:
        return self.start <= at < self.end

    def ended(self, due: int, sent: int, end: int, kind: str | None) -> None:
        if self.measured(end):
            self.arrived.append((end - self.start, None if kind else end - due))
        if not self.measured(due if self.open else end):
            return
        if kind:
            self.errors[kind] += 1
        else:
            self.latency.append(end - due)
            self.service.append(end - sent)

    def result(self, cpu_s: float) -> str:
        """The result event."""
        duration_s = (self.end - self.start) / 1e9
        bins: list[list[int | None]] = [[] for _ in range(-(-(self.end - self.start) // 100_000_000))]
        for at, latency in self.arrived:
            bins[at // 100_000_000].append(latency)
        series = [_bin((index + 1) * 100, found) for index, found in enumerate(bins)]
        blobs = {"latency": _blob(self.latency), "service": _blob(self.service), "lag": _blob(self.lag)}
        counts = {"sent": self.sent, "completed": len(self.latency), "errors": dict(self.errors)}
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
