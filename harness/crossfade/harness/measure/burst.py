"""A burst: many requests are due at one instant, and the clock runs until the last of them was answered.

Latency counts from that instant, so that waiting for a free connection of the client's own is part of it.
"""

from __future__ import annotations

from crossfade.harness.measure import loadrun
from crossfade.harness.measure.bench import Bench, Measured
from crossfade.harness.samples import LoadPoint


def run(bench: Bench) -> Measured:
    """One burst."""
    load = bench.scenario.load
    assert load is not None  # noqa: S101 - the scenario was validated
    with bench.front() as target:
        return conclude(loadrun.run(bench, target, loadrun.plan(bench, target)), wanted=load.burst)


def conclude(found: LoadPoint, *, wanted: int) -> Measured:
    """The block's figures. A burst that was not over when the block ended has no end to report and is void."""
    metrics = {**loadrun.latency_metrics(found), **loadrun.rates(found), **loadrun.failures(found)}
    failed = sum(found.errors.values())
    over = found.completed + failed
    void = None
    if found.drain_ms is not None:
        metrics["drain_ms"] = found.drain_ms
    if found.mismatches:
        void = f"{found.mismatches} answers did not match their request; run `crossfade parity`"
    elif found.drain_ms is None or over < wanted:
        void = (
            f"only {over} of {wanted} requests were over when the block ended; give it a longer duration_s or drain_s"
        )
    elif failed > loadrun.ERROR_LIMIT * wanted:
        # Refusing is faster than answering.
        void = (
            f"{failed} of {wanted} requests failed ({loadrun.kinds(found.errors)}); find out why before timing counts"
        )
    return Measured(metrics=metrics, points=(found,), errors=found.errors, void=void)
