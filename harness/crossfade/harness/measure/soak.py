"""A soak: one process serves under steady load while other clients come and go, and its memory is read all the time.

Growth per 1,000 calls that clears the scenario's threshold fails the block: it is the variant's doing, and one that
leaks has no figures that count. Reading memory stops the process for a moment, so that it is read sparsely, and the
block's notes say how long it took: latencies of a soak describe this soak and are compared with nothing.
"""

from __future__ import annotations

import bisect
import itertools
import statistics
import time
from collections.abc import Sequence

import msgspec

from crossfade.harness import memory
from crossfade.harness.measure import loadrun
from crossfade.harness.measure.bench import Bench, Measured, warm
from crossfade.harness.measure.churn import Churn
from crossfade.harness.measure.target import Target
from crossfade.harness.samples import LoadPoint, SeriesPoint, SoakSample
from crossfade.harness.stats.growth import Course
from crossfade.harness.stats.soaks import Fits, fits, judge
from crossfade.scenarios import Soak

SAMPLES = 80
"""Readings of a soak, unless they would come too often or too seldom."""
EVERY_S = (0.15, 10.0)
SERIES = 400
"""More intervals than this are merged before they are stored."""
WARM_CALLS = 30


def run(bench: Bench) -> Measured:
    """One soak."""
    scenario = bench.scenario
    assert scenario.soak is not None  # noqa: S101 - the scenario was validated
    with bench.fleet() as (fleet, ports), bench.target(fleet, ports) as target:
        warm(target, scenario, calls=WARM_CALLS)
        with Churn(target, scenario.soak) as churn:
            watch = Watch(target, churn, bench.rounds.duration_s)
            found = loadrun.run(bench, target, loadrun.plan(bench, target), during=watch)
        return conclude(found, watch, churn, scenario.soak)


class Watch:
    """Reads memory from the start of measuring until it ends."""

    def __init__(self, target: Target, churn: Churn, duration_s: float) -> None:
        self.target, self.churn = target, churn
        self.duration_s = duration_s
        self.every_s = min(EVERY_S[1], max(EVERY_S[0], duration_s / SAMPLES))
        self.readings: list[SoakSample] = []
        """With the calls of those who come and go alone; the load's are known when it has ended."""
        self.spent_s = 0.0

    def __call__(self) -> None:
        begin = time.monotonic()
        before = self.churn.calls
        due = self.every_s
        while due < self.duration_s:
            # The schedule of the experiment, not a synchronisation: the moment that was hit is recorded.
            time.sleep(max(0.0, begin + due - time.monotonic()))
            at = time.monotonic()
            found = memory.read(self.target.readable())
            self.spent_s += time.monotonic() - at
            calls, t_ms = self.churn.calls - before, (at - begin) * 1000
            self.readings.append(SoakSample(t_ms=t_ms, pss_kib=found.pss_kib, own_kib=found.own_kib, calls=calls))
            due += self.every_s

    def samples(self, series: Sequence[SeriesPoint]) -> tuple[SoakSample, ...]:
        """The readings with all calls answered until each: the churn's and, by its series, the load's."""
        ends = [0.0, *(p.t_ms for p in series)]
        totals = [0, *itertools.accumulate(p.completed for p in series)]

        def answered(t_ms: float) -> int:
            after = min(len(ends) - 1, bisect.bisect_left(ends, t_ms))
            if not after:
                return 0
            share = min(1.0, (t_ms - ends[after - 1]) / (ends[after] - ends[after - 1]))
            return round(totals[after - 1] + share * (totals[after] - totals[after - 1]))

        return tuple(msgspec.structs.replace(r, calls=r.calls + answered(r.t_ms)) for r in self.readings)


def conclude(found: LoadPoint, watch: Watch, churn: Churn, soak: Soak) -> Measured:
    """Slopes over time and over calls, and whether memory grows."""
    samples = watch.samples(found.series)
    lines = fits(samples)
    metrics: dict[str, float] = {}
    if found.cpu_us_per_request is not None:
        metrics["cpu_us_per_request"] = found.cpu_us_per_request
    if samples:
        last = [s.pss_kib for s in samples[-max(1, len(samples) // 4) :]]
        metrics["soak_pss_mib"] = statistics.median(last) / 1024
    void = loadrun.doubt(found) or churn.doubt()
    failed = None
    notes = [_cost(watch), churn.describe()]
    if lines is None:
        void = void or f"{len(samples)} readings of memory give no slope; use a longer duration_s"
    else:
        metrics["soak_kib_per_1000_calls"] = lines.per_1000_calls.slope
        metrics["soak_kib_per_min"] = lines.per_minute.slope
        says, told = verdict(samples, lines, soak)
        if says == "grows":
            failed = f"memory grows by {told}; find out what is kept (--memray) before anything else counts"
        elif says == "settles":
            notes.append(f"memory still settles: it grew by {told}, ever slower or not by much; soak it longer")
    errors = {**found.errors, **({"churn": churn.failed} if churn.failed else {})}
    kept = loadrun.coarser(found, SERIES)
    return Measured(
        metrics=metrics, points=(kept,), soak=samples, errors=errors, notes=tuple(notes), void=void, failed=failed
    )


def verdict(samples: Sequence[SoakSample], lines: Fits, soak: Soak) -> tuple[Course, str]:
    """What memory does, and the growth in words."""
    found = lines.per_1000_calls
    told = f"{found.slope:.3g} KiB per 1,000 calls [{found.low:.3g}, {found.high:.3g}]"
    return judge(samples, lines, soak), told


def _cost(watch: Watch) -> str:
    each_ms = 1000 * watch.spent_s / max(1, len(watch.readings))
    share = 100 * watch.spent_s / watch.duration_s
    return f"memory was read {len(watch.readings)} times, {each_ms:.2g} ms each: {share:.2g} % of the time"
