"""Latency at one fixed rate, open loop: what a client sees of a gateway that is not saturated.

Requests are due at times drawn beforehand and latency counts from there (method rule 9). Where some servers are slow on
purpose, a second generator keeps them busy meanwhile, and only calls to the others are measured: their latencies are
the question.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import msgspec

from crossfade.harness.measure import loadrun, upstreams
from crossfade.harness.measure.bench import Bench, Measured
from crossfade.harness.measure.target import Target
from crossfade.harness.samples import LoadPoint

LONGER_THAN_ANY_S = 3600.0


def run(bench: Bench) -> Measured:
    """One phase at the scenario's rate."""
    with bench.front() as target, slow_ones_busy(bench, target):
        return conclude(loadrun.run(bench, target, loadrun.plan(bench, target)))


@contextlib.contextmanager
def slow_ones_busy(bench: Bench, target: Target) -> Iterator[None]:
    """As many calls as the scenario has connections wait in the slow servers all the time."""
    slow = upstreams.tools(bench.scenario.upstream, slow=True)
    if not slow:
        yield
        return
    at_them = msgspec.structs.replace(target, tools=slow, tool=slow[0])
    body = loadrun.plan(bench, at_them, seed_offset=1) | {
        "mode": "closed",
        "rate_per_s": None,
        "tool": None,
        "tools": list(slow),
        "warmup_s": 0.0,
        "duration_s": LONGER_THAN_ANY_S,
    }
    child = bench.load(body)
    try:
        child.expect("measuring", timeout_s=30.0)
        yield
        child.alive()
    finally:
        # It would go on for an hour.
        child.close(grace_s=0.0)


def conclude(found: LoadPoint) -> Measured:
    """The block's figures; a percentile without samples enough is absent."""
    return Measured(
        metrics={**loadrun.latency_metrics(found), **loadrun.rates(found), **loadrun.failures(found)},
        points=(found,),
        errors=found.errors,
        void=loadrun.doubt(found),
    )
