"""Single operations that nobody timed: every kind of place and row that a report must show."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Literal

from crossfade.harness.samples import Operation


def operations(rng: random.Random, side: int) -> Iterator[Operation]:
    """Every kind of place and row: cores, one called from Python, the interface."""
    timed: list[tuple[str, Literal["core", "called", "interface"], int, float]] = [
        ("pool_checkout", "core", 8, 300.0),
        ("route", "core", 8, 1100.0),
        ("route", "core", 1000, 1200.0),
        ("breaker", "core", 100, 320.0),
        ("health", "core", 1, 90.0),
        ("call", "interface", 1, 80_000.0),
        ("broadcast", "interface", 10, 600_000.0),
        ("health", "interface", 1, 90_000.0),
    ]
    if side:
        timed += [(name, "called", size, ns / 4) for name, _, size, ns in timed[:4]]
    for name, where, size, ns in timed:
        least = ns * rng.lognormvariate(0, 0.02) / (20 if side and where == "core" else 1)
        yield Operation(
            name=name,
            where=where,
            size=size,
            per_batch=1000,
            batches=60,
            min_ns=least,
            p50_ns=least * 1.1,
            p99_ns=least * 1.8,
        )
