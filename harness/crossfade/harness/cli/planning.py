"""``crossfade plan``: how many nodes hold an objective, by a model that stored results calibrate."""

from __future__ import annotations

import argparse
import importlib.util

from crossfade.harness.cli import output
from crossfade.harness.problems import EX_OK, Unavailable
from crossfade.harness.store import load

MODEL = (
    "a model's answer, not a measurement: nodes that share nothing, Poisson arrivals, no breaker and no balancer; "
    "not yet validated against measured runs of several nodes"
)


def plan(options: argparse.Namespace) -> int:
    """``crossfade plan``: 0 with the answer. Raises UsageError, BrokenResults, Unavailable."""
    if importlib.util.find_spec("numba") is None:
        raise Unavailable("crossfade plan needs numba; pip install 'crossfade[numba]'")
    from crossfade.harness.simulate import planning  # noqa: PLC0415 - compiled code, for this command alone

    results = load(options.results)
    variant = options.impl or results.baseline
    one = planning.calibrate(results, variant)
    rate, slo_s = options.rate, options.slo_p99
    tried = planning.plan(one, rate_per_s=rate, slo_p99_s=slo_s, cores=options.cores, seed=options.seed)
    answer = next(p for p in tried if p.holds)
    if options.json:
        output.dump({"variant": variant, "model": MODEL, "answer": answer, "tried": tried})
        return EX_OK
    rows = [
        (str(p.nodes), f"{p.utilisation:.0%}", _ms(p.p50_ms), _ms(p.p99_ms), "holds" if p.holds else "misses")
        for p in tried
    ]
    output.say(output.table(("nodes", "busy", "p50 ms", "p99 ms", "objective"), rows))
    cores = "one core" if options.cores == 1 else f"{options.cores} cores"
    output.say(
        f"\n{answer.nodes} {'node' if answer.nodes == 1 else 'nodes'} of {variant} with {cores} each: "
        f"{rate:g} requests/s at a p99 of {slo_s * 1000:g} ms ({MODEL}).\n"
        f"calibrated from {one.scenario} at {one.rate_per_s:g}/s: {1e6 / one.capacity_per_s:.1f} us of processor each"
    )
    return EX_OK


def _ms(value: float | None) -> str:
    return "grows" if value is None else f"{value:.2f}"
