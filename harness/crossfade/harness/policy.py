"""Timing single policy operations of a core, without traffic.

The operations are the cores' own (``crossfade.impls.cores.bench_ops``, and the same in numba and Rust): each core is
timed in its own language (``core``) and, where a Python shell runs on it, as that shell calls it (``called``): the
difference is what the crossing costs. This module holds the clock.

A batch is a thousand operations or more on fresh state, so that the clock's own nanoseconds vanish in it; quantiles are
over batches. Interruptions only ever add time, so the smallest batch is what the operation needs, and the 99th
percentile what it needs on this machine.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Sequence
from functools import partial

from crossfade.harness.problems import BlockFailed
from crossfade.harness.samples import Operation
from crossfade.impls.cores import bench_ops

BATCHES = 60
MIN_BATCH_NS = 20_000
"""A batch takes at least this long: a thousand times the clock's resolution."""
CORE_OPS: dict[str, tuple[int, ...]] = {
    "pool_checkout": (8,),
    "route": (8, 10, 100, 1000),
    "round_robin": (8,),
    "weighted": (8,),
    "least_pending": (8,),
    "rendezvous": (8,),
    "registry_lookup": (10, 100, 1000),
    "breaker": (100,),
    "rate_limit": (1000,),
    "bulkhead": (64,),
    "health": (1,),
    "restart": (1,),
    "retry": (1,),
    "hedge": (1,),
    "shed": (1,),
    "metrics": (1,),
}
"""Every operation of a core and the sizes it is timed at."""

Bench = Callable[[str, int, int], int]
"""Nanoseconds that so many iterations of an operation take over so many items."""


def clocked(prepare: Callable[[str, int, int], Callable[[], int]]) -> Bench:
    """The bench of operations that are prepared in Python. Same signature as the native one."""

    def bench(op: str, iterations: int, size: int) -> int:
        timed = prepare(op, iterations, size)
        begin = time.perf_counter_ns()
        timed()
        return time.perf_counter_ns() - begin

    return bench


def benches(core: str, shell: str) -> dict[str, tuple[Bench, dict[str, str]]]:
    """Where a variant's core can be timed: place -> bench, and the name there of each operation.

    A compiled core under the asyncio shell has both places. numba's own language has loops for those operations only
    that it can do in batches. Raises BlockFailed for a core that has no bench.
    """
    every = {op: op for op in CORE_OPS}
    match core, shell:
        case "python", _:
            return {"core": (clocked(bench_ops.prepare), every)}
        case "numba", _:
            module = importlib.import_module("crossfade.impls.cores_numba.bench_ops")
            batches = {op: f"{op}_batch" for op in CORE_OPS if f"{op}_batch" in module.BATCH_OPS}
            single = clocked(module.prepare)
            return {"core": (single, batches), "called": (single, every)}
        case "rust", "tokio":
            return {"core": (_native(), every)}
        case "rust", _:
            bundle = importlib.import_module("crossfade.impls.cores_rust").RUST_CORES
            return {"core": (_native(), every), "called": (clocked(partial(bench_ops.prepare, cores=bundle)), every)}
        case _:
            raise BlockFailed(f"no policy bench for core {core!r}; add one to crossfade.harness.policy")


def _native() -> Bench:
    bench: Bench = importlib.import_module("crossfade_native").policy_bench
    return bench


def distribution(bench: Bench, op: str, size: int, where: str, name: str) -> Operation:
    """Time an operation, which the bench knows as ``op``, in batches."""
    per_batch = 1000
    while (took := bench(op, per_batch, size)) < MIN_BATCH_NS and per_batch < 1_000_000:
        per_batch *= max(2, min(10, MIN_BATCH_NS // max(took, 1)))
    return summed(name, where, size, per_batch, [bench(op, per_batch, size) for _ in range(BATCHES)])


def summed(name: str, where: str, size: int, per_batch: int, batches_ns: Sequence[int]) -> Operation:
    """The record of batches that took ``batches_ns``."""
    each = sorted(ns / per_batch for ns in batches_ns)
    return Operation(
        name=name,
        where=where,  # type: ignore[arg-type]  # the callers are in this package
        size=size,
        per_batch=per_batch,
        batches=len(each),
        min_ns=each[0],
        p50_ns=each[len(each) // 2],
        p99_ns=each[min(len(each) - 1, round(0.99 * (len(each) - 1)))],
    )
