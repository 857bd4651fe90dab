"""Policy operations of an open manager: the cores' alone, and what a caller of the interface waits for.

Of the interface: ``register`` is one register and one unregister of a lazy server, ``call`` one ``call_tool`` of a live
server, ``broadcast`` one to each of ten servers at once, ``health`` one probe. Those are timed one by one, the event
loop included.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from crossfade.harness.policy import CORE_OPS, benches, distribution, summed
from crossfade.harness.samples import Operation
from crossfade.impls import VARIANTS, Manager, ServerSpec

ECHO = msgspec.Raw(b'{"text":"0123456789abcdef","n":1}')
SINGLES = 150
SERVERS = 10
IN_FLIGHT = 16
CALLS_EACH = 400
SPANNED_EACH = 100
SCALARS = {
    ("pool_checkout", 8): "pool_checkout_ns",
    ("route", 8): "route_ns",
    ("route", 1000): "route_1000_ns",
    ("breaker", 100): "breaker_ns",
}
"""Operations that are metrics of the block, by name and size: the smallest batch, as the variant's shell pays it."""


async def run_ops(manager: Manager, order: dict[str, Any], emit: Callable[[object], None]) -> None:
    """Time every operation and report ``metrics`` and ``operations``."""
    variant = VARIANTS[manager.variant]
    found = [*_core_ops(variant.core, variant.shell), *await _interface_ops(manager, order)]
    metrics: dict[str, float] = {}
    for place in ("core", "called"):  # what the variant's shell pays, where it is another figure than the core's own
        metrics |= {
            SCALARS[op.name, op.size]: op.min_ns for op in found if op.where == place and (op.name, op.size) in SCALARS
        }
    metrics |= {f"{op.name}_us": op.p50_ns / 1000 for op in found if op.where == "interface" and op.name != "call"}
    metrics["call_cpu_us"] = await _call_cpu_us(manager, f"{order['server']}__echo")
    # Under the asyncio shell it is the shell that records, whatever the core: the last place is the shell's.
    recording = [op.p50_ns for op in found if op.name == "metrics"]
    metrics["metrics_percent"] = recording[-1] / metrics["call_cpu_us"] / 10
    if (added := await _spans_percent(manager, order)) is not None:
        metrics["spans_percent"] = added
    emit({"event": "result", "metrics": metrics, "operations": msgspec.to_builtins(found)})


def _core_ops(core: str, shell: str) -> list[Operation]:
    return [
        distribution(bench, known_as, size, where, op)
        for where, (bench, ops) in benches(core, shell).items()
        for op, known_as in ops.items()
        for size in CORE_OPS[op]
    ]


async def _interface_ops(manager: Manager, order: dict[str, Any]) -> list[Operation]:
    url, server = order["url"], order["server"]
    crowd = [f"crowd-{n}" for n in range(SERVERS)]
    for name in crowd:
        await manager.register(ServerSpec(name=name, urls=(url,)))

    async def register() -> None:
        await manager.register(ServerSpec(name="extra", urls=(url,), lazy=True))
        await manager.unregister("extra", drain_s=0.0)

    async def broadcast() -> None:
        await asyncio.gather(*(manager.call_tool(f"{name}__echo", ECHO) for name in crowd))

    return [
        await _one_by_one("register", 1, register),
        await _one_by_one("call", 1, lambda: manager.call_tool(f"{server}__echo", ECHO)),
        await _one_by_one("broadcast", SERVERS, broadcast),
        await _one_by_one("health", 1, lambda: manager.health(server)),
    ]


async def _spans_percent(manager: Manager, order: dict[str, Any]) -> float | None:
    """None without the extra."""
    try:
        from crossfade.harness.worker_spans import spans_percent  # noqa: PLC0415 - an extra, and not what is timed first
    except ImportError:
        return None
    tool = f"{order['server']}__echo"
    return await spans_percent(manager, order, lambda which: _call_cpu_us(which, tool, SPANNED_EACH))


async def _call_cpu_us(manager: Manager, tool: str, each: int = CALLS_EACH) -> float:
    """Processor time of one call, all threads of the process together, with ``IN_FLIGHT`` at once."""

    async def caller(calls: int) -> None:
        for _ in range(calls):
            await manager.call_tool(tool, ECHO)

    for calls in (each // 10, each):
        begin = time.process_time_ns()
        await asyncio.gather(*(caller(calls) for _ in range(IN_FLIGHT)))
        took = time.process_time_ns() - begin
    return took / (each * IN_FLIGHT) / 1000


async def _one_by_one(name: str, size: int, operation: Callable[[], Awaitable[object]]) -> Operation:
    for _ in range(SINGLES // 10):
        await operation()
    took = []
    for _ in range(SINGLES):
        begin = time.perf_counter_ns()
        await operation()
        took.append(time.perf_counter_ns() - begin)
    return summed(name, "interface", size, 1, took)
