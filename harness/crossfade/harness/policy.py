"""Timing single policy operations of a core, without traffic.

The operations are the cores' own (``crossfade.impls.cores.bench_ops``, and the same in Rust behind
``crossfade_native.policy_bench``): each core is timed where its variant runs it. This module holds the clock.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable

from crossfade.harness.problems import BlockFailed
from crossfade.impls.cores import bench_ops

BATCHES = 7
CORE_OPS = ("pool_checkout", "route", "breaker")


def python_bench(op: str, iterations: int, size: int) -> int:
    """Nanoseconds that ``iterations`` of ``op`` take with Python cores. Same signature as the native one."""
    timed = bench_ops.prepare(op, iterations, size)
    begin = time.perf_counter_ns()
    timed()
    return time.perf_counter_ns() - begin


def ns_per_op(core: str, op: str, iterations: int, size: int) -> float:
    """The smallest of several batches, in nanoseconds per operation: interruptions only ever add time.

    ``core`` is a variant's core, ``python`` or ``rust``. Raises BlockFailed for another.
    """
    bench: Callable[[str, int, int], int]
    if core == "python":
        bench = python_bench
    elif core == "rust":
        bench = importlib.import_module("crossfade_native").policy_bench
    else:
        raise BlockFailed(f"no policy bench for core {core!r}; add one to crossfade.harness.policy")
    bench(op, max(1, iterations // 10), size)
    return min(bench(op, iterations, size) for _ in range(BATCHES)) / iterations
