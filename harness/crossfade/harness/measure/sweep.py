"""Open-loop latency against rate, and the knee (method rule 11).

1. Rates double from the lowest until one loses the objective or the offered rate; if the lowest does, it is halved.
   A rate that loses only the objective is tried once more.
2. The gap between the last that held and the first that did not is bisected (geometrically) a few times.
3. The knee is the highest rate that held, all lower ones having held.

One process serves the whole sweep; a rate that overloads it is followed by a drain, and lower rates come after it only
in the bisection.
"""

from __future__ import annotations

import math

import msgspec

from crossfade.harness.measure import loadrun, turns
from crossfade.harness.measure.bench import Bench, Measured, warm
from crossfade.harness.measure.target import Target
from crossfade.harness.samples import LoadPoint
from crossfade.scenarios import Sweep

HALVINGS = 2
"""Below a quarter of the lowest rate a short phase has too few samples for a p99."""


def run(bench: Bench) -> Measured:
    """Sweep one target."""
    sweep = bench.scenario.sweep
    assert sweep is not None  # noqa: S101 - the scenario was validated
    points: list[LoadPoint] = []
    with bench.fleet() as (fleet, ports), bench.target(fleet, ports) as target:
        warm(target, bench.scenario, calls=3)

        def held(rate: float) -> bool:
            points.append(phase(bench, target, sweep, rate, len(points)))
            if not points[-1].held and (kept_rate(points[-1], sweep) or loadrun.generator_late(points[-1])):
                # One stall of a busy machine spoils a p99, and a late generator is not the target's doing. What the
                # target itself cannot hold, it loses twice.
                points.append(phase(bench, target, sweep, rate, len(points)))
            return bool(points[-1].held)

        knee = search(sweep, held)
    return conclude(points, knee)


def search(sweep: Sweep, held: object) -> float | None:
    """The highest rate that held, asking ``held(rate)`` as seldom as possible; None if not even the lowest does."""
    assert callable(held)  # noqa: S101 - narrows the type
    rate: float
    best: float | None
    lost: float | None
    rate, best, lost = sweep.from_per_s, None, None
    while rate <= sweep.to_per_s and lost is None:
        if held(rate):
            best, rate = rate, rate * 2
        else:
            lost = rate
    for _ in range(HALVINGS if best is None else 0):
        rate = rate / 2
        if held(rate):
            best = rate
            break
        lost = rate
    if best is None or lost is None:
        return best
    for _ in range(sweep.refine):
        middle = math.sqrt(best * lost)
        if held(middle):
            best = middle
        else:
            lost = middle
    return best


def phase(bench: Bench, target: Target, sweep: Sweep, rate: float, number: int) -> LoadPoint:
    """One rate, judged."""
    # Rounded so that the same rate of another round is the same number.
    found = loadrun.run(bench, target, loadrun.plan(bench, target, rate_per_s=round(rate), seed_offset=number))
    return msgspec.structs.replace(found, held=keeps(found, sweep))


def keeps(found: LoadPoint, sweep: Sweep) -> bool:
    """Whether a phase kept the objective, the offered rate, and answered without errors."""
    return (
        found.p99_us is not None
        and found.p99_us <= sweep.objective_p99_ms * 1000
        and kept_rate(found, sweep)
        and sum(found.errors.values()) <= loadrun.ERROR_LIMIT * found.sent
        and found.missed_sends <= loadrun.MISSED_LIMIT * found.sent
    )


def kept_rate(found: LoadPoint, sweep: Sweep) -> bool:
    """Whether answers came as fast as requests were offered, give or take the chance of random arrivals."""
    offered = found.rate_per_s or 0.0
    return found.throughput_per_s >= sweep.keep_share * offered * _poisson_slack(offered * found.duration_s)


def _poisson_slack(expected: float) -> float:
    # Random arrivals miss their mean; three standard deviations of a Poisson count are not a lost rate.
    return max(0.5, 1 - 3 / math.sqrt(expected)) if expected > 0 else 1.0


def decided_by_generator(points: list[LoadPoint]) -> LoadPoint | None:
    """The lowest rate that was lost, if the generator was late there: then nobody knows who lost it.

    A rate that was held with a late generator was held all the same, for latency runs from when a request was due.
    """
    last = {p.rate_per_s or 0.0: p for p in points}
    lost = [p for _, p in sorted(last.items()) if p.held is False]
    return lost[0] if lost and loadrun.generator_late(lost[0]) else None


def conclude(points: list[LoadPoint], knee: float | None) -> Measured:
    """The block's figures."""
    wrong = sum(p.mismatches for p in points)
    notes = [f"{p.rate_per_s:.0f}/s: the generator itself sent late" for p in points if loadrun.generator_late(p)]
    void = f"{wrong} answers did not match their request; run `crossfade parity`" if wrong else None
    if void is None and (late := decided_by_generator(points)) is not None:
        void = f"at {late.rate_per_s:.0f}/s, which decided the knee, the generator itself sent late; add processors"
    if void is None and knee is None:
        void = "not even the lowest rate held the objective; lower sweep.from_per_s or quieten the machine"
    return Measured(
        metrics={"knee_per_s": float(round(knee))} if knee is not None else {},
        points=tuple(points),
        errors=turns.added([p.errors for p in points]),
        notes=tuple(notes),
        void=void,
    )
