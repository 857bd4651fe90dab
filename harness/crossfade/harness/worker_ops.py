"""Policy operations of an open manager: registry and health through the interface, cores through their bench.

``register`` is one register and one unregister of a lazy server; ``health`` is one probe of a live server. Both are
microseconds per operation as the caller sees them, the event loop included; the smallest of several batches counts.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any

from crossfade.harness.policy import BATCHES, CORE_OPS, ns_per_op
from crossfade.impls import VARIANTS, Manager, ServerSpec

REGISTER_BATCH = 200
HEALTH_BATCH = 50


async def run_ops(manager: Manager, order: dict[str, Any], emit: Callable[[object], None]) -> None:
    """Time every operation that was asked for and report ``metrics``."""
    metrics: dict[str, float] = {}
    for name in order["names"]:
        if name in CORE_OPS:
            core = VARIANTS[manager.variant].core
            metrics[f"{name}_ns"] = ns_per_op(core, name, order["iterations"], order["size"])
        elif name == "register":
            metrics["register_us"] = await _best_us(lambda: _register(manager, order["url"]), REGISTER_BATCH)
        else:
            metrics["health_us"] = await _best_us(lambda: manager.health(order["server"]), HEALTH_BATCH)
    emit({"event": "result", "metrics": metrics})


async def _register(manager: Manager, url: str) -> None:
    await manager.register(ServerSpec(name="extra", urls=(url,), lazy=True))
    await manager.unregister("extra", drain_s=0.0)


async def _best_us(operation: Callable[[], Awaitable[object]], batch: int) -> float:
    await operation()
    best = float("inf")
    for _ in range(BATCHES):
        begin = time.perf_counter_ns()
        for _ in range(batch):
            await operation()
        best = min(best, (time.perf_counter_ns() - begin) / batch / 1000)
    return best
