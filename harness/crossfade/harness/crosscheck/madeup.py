"""The largest results file that a run can leave, made up; never a measurement.

Its shape is that of a whole run in the ``full`` profile: every built-in scenario, every variant and limit, rounds
enough for the blocks that are asked for; a load phase has an interval for each 100 ms of ten seconds, and a sweep has
twelve phases (250 to 512,000 requests per second by doubling). The latencies are shared out evenly, each histogram has
its own, and they spread over four decades, so that nearly every sample has a bucket to itself: the dearest that a
histogram can be.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from datetime import UTC, datetime

import msgspec
import numpy as np

from crossfade.harness import environment, plan
from crossfade.harness.executor import Task, build
from crossfade.harness.hdr import SUB_BITS, Histogram
from crossfade.harness.measure import Measured
from crossfade.harness.runner import start
from crossfade.harness.samples import LoadPoint, Mark, Results, Rung, SeriesPoint, VariantRecord
from crossfade.scenarios import LIMITS, Scenario, select

VARIANTS = ("python", "rust", "numba", "rust-core")
PHASES = 12
INTERVALS = 100
STARTED = datetime(2026, 1, 1, tzinfo=UTC)


def results(seed: int, *, samples: int, blocks: int) -> Results:
    """At least that many ``blocks``, and ``samples`` latencies over their histograms."""
    scenarios = {s.name: s for s in select([])}
    rows = sum(len(VARIANTS) + len(s.limits) for s in scenarios.values())
    rounds = math.ceil(blocks / rows)
    empty = start(
        run_id="large",
        command=("crossfade", "crosscheck"),
        profile="full",
        seed=seed,
        baseline=VARIANTS[0],
        candidates=VARIANTS[1:],
        environment=environment.collect(),
        scenarios=[
            plan.record(s, "full", variants=(*VARIANTS, *s.limits), left_out={}, rounds=rounds)
            for s in scenarios.values()
        ],
        variants=[
            *(VariantRecord(name=name, kind="variant", description="made up") for name in VARIANTS),
            *map(plan.describe_limit, LIMITS),
        ],
    )
    blobs = _blobs(seed, samples, sum(_phases(scenarios[slot.scenario]) for slot in empty.order))
    rng = random.Random(seed)  # noqa: S311 - made up on purpose
    made = []
    for slot in empty.order:
        scenario = scenarios[slot.scenario]
        found = Measured(
            metrics={m: 100 * rng.lognormvariate(0, 0.1) for m in (*scenario.headline, *scenario.shown)},
            points=tuple(_point(rng, scenario, n, next(blobs)) for n in range(_phases(scenario))),
            ladder=_ladder(rng, scenario),
            marks=(Mark(t_ms=1000.0, what="crash"), Mark(t_ms=3000.0, what="recover")) if scenario.faults else (),
        )
        task = Task(scenario=scenario, profile="full", slot=slot, seed=seed, hash_seed=1)
        made.append(build(task, found, started=STARTED, wall_s=12.0))
    return msgspec.structs.replace(empty, blocks=tuple(made), complete=True, finished="2026-01-02T00:00:00Z")


def _phases(scenario: Scenario) -> int:
    if scenario.load is None or scenario.ladder is not None:
        return 0
    return PHASES if scenario.kind == "sweep" else 1


def _blobs(seed: int, samples: int, count: int) -> Iterator[str]:
    """A blob for each phase; together they hold ``samples``."""
    rng = np.random.default_rng(seed)
    for number in range(count):
        size = samples // count + (number < samples % count)
        # 10 us to 100 ms, evenly over the logarithm.
        values = (10_000 * 10 ** (4 * rng.random(size))).astype(np.int64)
        # index_of, for all at once: frexp's exponent of an integer is its bit length.
        shifts = np.maximum(np.frexp(values.astype(float))[1].astype(np.int64) - SUB_BITS, 0)
        used, counts = np.unique(shifts * (1 << (SUB_BITS - 1)) + (values >> shifts), return_counts=True)
        found = Histogram()
        found.counts = dict(zip(used.tolist(), counts.tolist(), strict=True))
        found.total_count = size
        yield found.encode()


def _point(rng: random.Random, scenario: Scenario, number: int, blob: str) -> LoadPoint:
    assert scenario.load is not None  # noqa: S101 - see _phases
    completed = 100_000
    return LoadPoint(
        mode=scenario.load.mode,
        connections=scenario.load.connections,
        rate_per_s=250.0 * 2**number if scenario.kind == "sweep" else scenario.load.rate_per_s,
        duration_s=INTERVALS / 10,
        sent=completed,
        completed=completed,
        errors={},
        mismatches=0,
        missed_sends=0,
        throughput_per_s=completed * 10 / INTERVALS,
        cpu_us_per_request=20.0 * rng.lognormvariate(0, 0.05),
        latency=blob,
        service=blob if scenario.load.mode == "open" else "",
        lag=blob if scenario.load.mode == "open" else "",
        series=tuple(
            SeriesPoint(
                t_ms=100.0 * (n + 1),
                completed=int(completed / INTERVALS * rng.lognormvariate(0, 0.03)),
                errors=0,
                p50_us=300 * rng.lognormvariate(0, 0.1),
                p99_us=900 * rng.lognormvariate(0, 0.2),
            )
            for n in range(INTERVALS)
        ),
        generator="rust",
        generator_cpu_s=1.0,
        p50_us=300.0,
        p99_us=900.0,
        held=number < PHASES // 2 if scenario.kind == "sweep" else None,
    )


def _ladder(rng: random.Random, scenario: Scenario) -> tuple[Rung, ...]:
    if scenario.ladder is None:
        return ()
    return tuple(
        Rung(connections=n, state=state, pss_kib=pss, rss_kib=pss + 4096)
        for n in scenario.ladder.rungs
        for state in ("idle", "in_flight")
        for pss in (20_000 + 11 * n * rng.lognormvariate(0, 0.01),)
    )
