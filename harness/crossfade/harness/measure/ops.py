"""Policy operations: the variant's worker times them itself, next to a live upstream."""

from __future__ import annotations

import msgspec

from crossfade.harness.measure.bench import SERVER, Bench, Measured
from crossfade.harness.measure.upstreams import url
from crossfade.harness.samples import Operation

PATIENCE_S = 120.0


def run(bench: Bench) -> Measured:
    """Ask the worker for its figures."""
    with bench.fleet() as (_, ports), bench.worker(ports, serve=False) as (child, _ready):
        child.send({"op": "ops", "server": SERVER, "url": url(ports[0])})
        result = child.expect("result", timeout_s=PATIENCE_S)
    return Measured(
        metrics={name: float(value) for name, value in result["metrics"].items()},
        operations=msgspec.convert(result["operations"], tuple[Operation, ...]),
    )
