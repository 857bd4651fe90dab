"""Policy operations: the variant's worker times them itself, next to a live upstream.

What a compiling core costs before its first decision is measured once in a run, in its first round: cold it takes
seconds that no other round needs.
"""

from __future__ import annotations

import sys
import tempfile
from typing import Any

import msgspec

from crossfade.harness.measure.bench import SERVER, TWIN, Bench, Measured
from crossfade.harness.measure.upstreams import url
from crossfade.harness.processes import Child
from crossfade.harness.samples import Operation
from crossfade.impls import find_variant

PATIENCE_S = 120.0
COMPILING = "numba"
"""The core that compiles itself where it runs."""


def run(bench: Bench) -> Measured:
    """Ask the worker for its figures."""
    with bench.fleet() as (_, ports), bench.worker(ports, serve=False) as (child, _ready):
        child.send({"op": "ops", "server": SERVER, "url": url(ports[0])})
        result = child.expect("result", timeout_s=PATIENCE_S)
    metrics = {name: float(value) for name, value in result["metrics"].items()}
    if bench.first and find_variant(bench.variant.partition(TWIN)[0]).core == COMPILING:
        metrics |= compiled(bench)
    return Measured(metrics=metrics, operations=msgspec.convert(result["operations"], tuple[Operation, ...]))


def compiled(bench: Bench) -> dict[str, float]:
    """Cold, cached and warm, in two processes that share a cache which was empty before the first."""
    with tempfile.TemporaryDirectory(prefix="crossfade-numba-") as cache:
        cold, cached = _pass(bench, cache), _pass(bench, cache)
    return {
        "numba_cold_ms": cold["first_ms"],
        "numba_cached_ms": cached["first_ms"],
        "numba_warm_ms": cached["again_ms"],
    }


def _pass(bench: Bench, cache: str) -> dict[str, Any]:
    argv = [sys.executable, "-m", "crossfade.harness.compiling"]
    with Child("numba's cores", argv, cpus=bench.placement.variant, env={"NUMBA_CACHE_DIR": cache}) as child:
        return child.expect("compiled", timeout_s=2 * PATIENCE_S)
