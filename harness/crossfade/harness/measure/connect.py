"""A storm of connections: each is opened, makes one call that is checked, and is closed.

What it costs to accept a client, apart from what it costs to serve one. Closed loop with ``parallel`` under way.
"""

from __future__ import annotations

from crossfade.harness.measure import loadrun
from crossfade.harness.measure.bench import Bench, Measured
from crossfade.harness.samples import LoadPoint


def run(bench: Bench) -> Measured:
    """One storm."""
    connect = bench.scenario.connect
    assert connect is not None  # noqa: S101 - the scenario was validated
    with bench.front() as target:
        body = loadrun.plan(bench, target) | {"mode": "connect", "parallel": connect.parallel}
        return conclude(loadrun.run(bench, target, body), wanted=body["connections"])


def conclude(found: LoadPoint, *, wanted: int) -> Measured:
    """The block's figures."""
    metrics = {**loadrun.latency_metrics(found), **loadrun.failures(found)}
    if found.connects_per_s is not None:
        metrics["connects_per_s"] = found.connects_per_s
    if found.cpu_us_per_request is not None:
        # Each connection makes one request.
        metrics["cpu_us_per_connection"] = found.cpu_us_per_request
    void = loadrun.doubt(found)
    if void is None and found.completed < wanted * (1 - loadrun.ERROR_LIMIT):
        void = f"only {found.completed} of {wanted} connections were answered in time; give it a longer duration_s"
    return Measured(metrics=metrics, points=(found,), errors=found.errors, void=void)
