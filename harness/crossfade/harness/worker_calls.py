"""The in-process closed loop: coroutines that await ``call_tool`` as fast as answers come.

The loop does for each call what an application must do (build arguments, await, look at a clock) and no more; answers
are compared with their question on every ``check_every``-th call, and histograms are made when the window has closed.
The rule: no two calls of a process have the same arguments, whatever order they belong to.
"""

from __future__ import annotations

import asyncio
import time
from array import array
from collections import Counter
from collections.abc import Callable
from typing import Any

from crossfade.harness.hdr import Histogram
from crossfade.impls import CrossfadeError, Manager

INTERVAL_NS = 100_000_000


class Loop:
    """Shared by the coroutines of one run."""

    def __init__(self, manager: Manager, order: dict[str, Any], asked: int) -> None:
        self.manager = manager
        self.tool: str = order["tool"]
        self.filler = "x" * order["payload_bytes"]
        self.size: int = order["payload_bytes"]
        self.check_every: int = order["check_every"]
        self.timeout_s: float = order["timeout_s"]
        self.count = asked
        self.running = True
        self.measuring = False
        self.mismatches = 0
        self.errors: Counter[str] = Counter()
        self.durations = array("q")
        self.ends = array("q")

    async def caller(self) -> None:
        """One call after the other until told to stop."""
        manager, clock = self.manager, time.perf_counter_ns
        while self.running:
            self.count = number = self.count + 1
            # Distinct arguments, so that no cache can cheat.
            text = (f"{number:x}-" + self.filler)[: self.size] if self.size else f"{number:x}"
            begin = clock()
            try:
                result = await manager.call_tool(self.tool, {"text": text, "n": number}, timeout_s=self.timeout_s)
            except CrossfadeError as error:
                if self.measuring:
                    self.errors[error.code] += 1
                continue
            end = clock()
            if self.measuring:
                self.durations.append(end - begin)
                self.ends.append(end)
            if number % self.check_every == 0 and result.text != text:
                self.mismatches += 1


async def run_calls(manager: Manager, order: dict[str, Any], emit: Callable[[object], None], *, asked: int) -> int:
    """Warm up, measure, report in the form of a load result.

    ``asked`` is how many calls earlier orders made; what it is now is returned, for the next one.
    """
    loop = Loop(manager, order, asked)
    callers = [asyncio.ensure_future(loop.caller()) for _ in range(order["in_flight"])]
    await asyncio.sleep(order["warmup_s"])
    loop.measuring = True
    begin = time.perf_counter_ns()
    emit({"event": "measuring"})
    await asyncio.sleep(order["duration_s"])
    loop.measuring = False
    end = time.perf_counter_ns()
    emit({"event": "measured"})
    loop.running = False
    await asyncio.gather(*callers)
    emit({"event": "result", **_result(loop, begin, end)})
    return loop.count


def _result(loop: Loop, begin: int, end: int) -> dict[str, Any]:
    histogram = Histogram()
    for value in loop.durations:
        histogram.record(value)
    completed = len(loop.durations)
    blob = histogram.encode()
    return {
        "generator": "in-process",
        "sent": completed + loop.errors.total(),
        "completed": completed,
        "errors": dict(loop.errors),
        "mismatches": loop.mismatches,
        "missed_sends": 0,
        "duration_s": (end - begin) / 1e9,
        "throughput_per_s": completed / ((end - begin) / 1e9),
        "latency": blob,
        "service": blob,
        "lag": "",
        "series": _series(loop, begin, end),
        "generator_cpu_s": None,
    }


def _series(loop: Loop, begin: int, end: int) -> list[dict[str, float]]:
    buckets: list[list[int]] = [[] for _ in range(max(1, (end - begin) // INTERVAL_NS))]
    for duration, at in zip(loop.durations, loop.ends, strict=True):
        index = (at - begin) // INTERVAL_NS
        if index < len(buckets):
            buckets[index].append(duration)
    return [
        {
            "t_ms": (index + 1) * INTERVAL_NS / 1e6,
            "completed": len(bucket),
            "errors": 0,
            "p50_us": _rank(bucket, 0.5),
            "p99_us": _rank(bucket, 0.99),
        }
        for index, bucket in enumerate(buckets)
    ]


def _rank(values: list[int], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))] / 1000 if values else 0.0
