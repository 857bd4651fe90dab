"""Results made by hand: a whole run of every kind of scenario, in numbers that are round enough to check by head.

In round r every figure of every variant is multiplied by ``DRIFT[r]``: a machine that drifts, by factors whose
product is one. Pairing removes it, so ratios between variants and their means are exact while single figures scatter.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import msgspec

from crossfade.harness.hdr import Histogram
from crossfade.harness.samples import (
    FORMAT,
    VERSION,
    Attachment,
    Block,
    Cpu,
    Environment,
    LoadPoint,
    Mark,
    Parity,
    Results,
    Rung,
    ScenarioKind,
    ScenarioRecord,
    SelfTest,
    SeriesPoint,
    Slot,
    VariantRecord,
)

DRIFT = (0.8, 1.0, 1.25)
THROUGHPUT = {"python": 12_000.0, "rust": 30_000.0, "nginx": 40_000.0, "ceiling": 100_000.0}
CPU_US = {"python": 80.0, "rust": 32.0, "nginx": 20.0}
KNEE = {"python": 8_000.0, "rust": 22_627.0, "nginx": 32_000.0}
SLOPE_KIB = {"python": 20.0, "rust": 10.0}
OPS_NS = {"python": (1500.0, 2400.0, 700.0), "rust": (100.0, 60.0, 25.0)}
LIMITS = ("nginx", "ceiling")


@functools.cache
def blob(middle_us: float, count: int) -> str:
    """A histogram of ``count`` latencies whose median is ``middle_us`` and whose p99 is about five times that."""
    found = Histogram()
    for i in range(count):
        found.record(round(middle_us * 1000 * math.exp(0.7 * _normal((i + 0.5) / count))))
    return found.encode()


def _normal(p: float) -> float:
    """A quantile that is near enough to the normal one for a made-up tail."""
    return math.copysign(math.sqrt(-2 * math.log(2 * min(p, 1 - p))), p - 0.5)


def scenario(
    name: str, kind: ScenarioKind, headline: Sequence[str], variants: Sequence[str], **more: Any
) -> ScenarioRecord:
    """A scenario record with everything that the report does not look at made up."""
    given: dict[str, Any] = {
        "title": f"Title of {name}",
        "summary": f"What `{name}` does.",
        "sha256": "0123456789abcdef" * 4,
        "tags": (),
        "rounds": len(DRIFT),
        "threshold": 0.05,
        **more,
    }
    return ScenarioRecord(name=name, kind=kind, headline=tuple(headline), variants=tuple(variants), **given)


def block(scenario: str, variant: str, round_: int, metrics: dict[str, float] | None = None, **more: Any) -> Block:
    """A block that is ok unless told otherwise."""
    given: dict[str, Any] = {"status": "ok", "position": 0, "wall_s": 2.0, "hash_seed": 1, **more}
    return Block(
        scenario=scenario,
        variant=variant,
        kind="limit" if variant in LIMITS else "variant",
        round=round_,
        started="2026-11-22T12:00:00.000Z",
        metrics=metrics or {},
        **given,
    )


def point(
    rate: float | None, answered_per_s: float, middle_us: float, *, seconds: float = 1.5, **more: Any
) -> LoadPoint:
    """One load phase: a closed loop where no rate is given."""
    sent = round((rate or answered_per_s) * seconds)
    given: dict[str, Any] = {
        "errors": {},
        "mismatches": 0,
        "missed_sends": 0,
        "completed": min(sent, round(answered_per_s * seconds)),
        "latency": blob(middle_us, 4000),
        "generator": "rust",
        "cpu_us_per_request": None,
        **more,
    }
    return LoadPoint(
        mode="closed" if rate is None else "open",
        connections=16,
        rate_per_s=rate,
        duration_s=seconds,
        sent=sent,
        throughput_per_s=answered_per_s,
        **given,
    )


def series(per_s: float, seconds: float = 1.5, *, errors: Sequence[int] = ()) -> tuple[SeriesPoint, ...]:
    """Ten intervals a second, level."""
    count = round(seconds * 10)
    lost = (*errors, *(0 for _ in range(count - len(errors))))
    return tuple(
        SeriesPoint(
            t_ms=100.0 * (i + 1), completed=0 if lost[i] else round(per_s / 10), errors=lost[i], p50_us=500, p99_us=900
        )
        for i in range(count)
    )


def throughput(name: str, variants: Sequence[str], scale: float = 1.0) -> list[Block]:
    """Blocks of a saturated closed loop."""
    found = []
    for r, drift in enumerate(DRIFT):
        for variant in variants:
            per_s = THROUGHPUT[variant] * scale * drift
            metrics = {"throughput_per_s": per_s, "p50_us": 16e6 / per_s, "p99_us": 50e6 / per_s}
            if variant in CPU_US:
                metrics["cpu_us_per_request"] = CPU_US[variant] / scale / drift
            load = point(None, per_s, 16e6 / per_s, series=series(per_s))
            found.append(block(name, variant, r, metrics, points=(load,)))
    return found


def sweep(name: str, variants: Sequence[str]) -> list[Block]:
    """Blocks of an open-loop sweep: rates double until one is not held."""
    found = []
    for r in range(len(DRIFT)):
        for variant in variants:
            points, rate = [], 2000.0
            while True:
                held = rate <= KNEE[variant]
                middle = 400.0 / (1 - min(rate / KNEE[variant] / 1.5, 0.9)) if held else 90_000.0
                points.append(point(rate, min(rate, 1.2 * KNEE[variant]), middle, held=held))
                if not held or rate >= 64_000:
                    break
                rate *= 2
            found.append(block(name, variant, r, {"knee_per_s": KNEE[variant]}, points=tuple(points)))
    return found


def ladder(name: str, variants: Sequence[str]) -> list[Block]:
    """Blocks of a memory ladder that lies on its line exactly."""
    return [
        block(
            name,
            variant,
            r,
            {"slope_kib": SLOPE_KIB[variant], "intercept_mib": 40.0},
            ladder=tuple(
                Rung(connections=n, state="idle", pss_kib=40 * 1024 + SLOPE_KIB[variant] * n, rss_kib=0)
                for n in (0, 50, 100, 200, 400)
            ),
        )
        for r in range(len(DRIFT))
        for variant in variants
    ]


def ops(name: str, variants: Sequence[str]) -> list[Block]:
    """Blocks of policy operations."""
    names = ("pool_checkout_ns", "route_ns", "breaker_ns")
    return [
        block(name, variant, r, {m: ns * drift for m, ns in zip(names, OPS_NS[variant], strict=True)})
        for r, drift in enumerate(DRIFT)
        for variant in variants
    ]


def crash(name: str, variants: Sequence[str]) -> list[Block]:
    """Blocks in which the server dies after one second and is back after two."""
    lost = [0] * 10 + [100] * 11
    found = []
    for r, drift in enumerate(DRIFT):
        for variant in variants:
            metrics = {
                "restored_ms": (400.0 if variant == "python" else 150.0) * drift,
                "first_success_ms": 40.0,
                "failed_requests": float(sum(lost)),
                "hung_requests": 0.0,
            }
            load = point(
                1000.0, 760.0, 600, seconds=4.5, series=series(1000, 4.5, errors=lost), errors={"-32001": 1100}
            )
            marks = (Mark(t_ms=1000.0, what="crash"), Mark(t_ms=2000.0, what="recover"))
            found.append(block(name, variant, r, metrics, points=(load,), marks=marks, errors={"-32001": 1100}))
    return found


def environment(**more: Any) -> Environment:
    """A small machine with a release build of the native module."""
    given: dict[str, Any] = {
        "cpu": Cpu(model="Test CPU", count=2, affinity=(0, 1), virtual="KVM"),
        "native": {"version": "0.1.0", "profile": "release", "features": ("mimalloc",), "abi": 1},
        "nginx": "1.22.1",
        "pinning": "Variant on core 0, fleet and load on core 1.",
        "packages": {"uvloop": "0.23.0"},
        **more,
    }
    return Environment(
        memory_mib=8192,
        memory_limit_mib=None,
        kernel="6.1.0",
        os="Test OS",
        hostname_hash="abc",
        python="3.11.2",
        python_build="CPython",
        **given,
    )


def full(**more: Any) -> Results:
    """Everything there is, and nothing wrong with it."""
    both, limits = ("python", "rust"), ("python", "rust", "nginx", "ceiling")
    records = (
        scenario(
            "gateway-echo", "throughput", ("throughput_per_s", "cpu_us_per_request"), limits, shown=("p50_us", "p99_us")
        ),
        scenario("calls-echo", "calls", ("throughput_per_s",), (*both, "ceiling")),
        scenario("rate-sweep", "sweep", ("knee_per_s",), (*both, "nginx"), objective_p99_ms=10.0),
        scenario("memory-clients", "memory_clients", ("slope_kib",), both, threshold=0.1, shown=("intercept_mib",)),
        scenario("policy-ops", "ops", ("pool_checkout_ns", "route_ns", "breaker_ns"), both),
        scenario("faults-crash", "faults", ("restored_ms",), both, threshold=0.2, left_out={"nginx": "it has no say"}),
    )
    blocks = (
        *throughput("gateway-echo", limits),
        *throughput("calls-echo", (*both, "ceiling"), 0.5),
        *sweep("rate-sweep", (*both, "nginx")),
        *ladder("memory-clients", both),
        *ops("policy-ops", both),
        *crash("faults-crash", both),
    )
    given: dict[str, Any] = {
        "baseline": "python",
        "candidates": ("rust",),
        "environment": environment(),
        "scenarios": records,
        "variants": tuple(
            VariantRecord(name=name, kind="limit" if name in LIMITS else "variant", description=f"the {name} one")
            for name in limits
        ),
        "blocks": blocks,
        "parity": (Parity(scenario="gateway-echo", variants=both, ok=True),),
        "complete": True,
        **more,
    }
    given.setdefault(
        "order",
        tuple(
            Slot(scenario=b.scenario, round=b.round, position=b.position, variant=b.variant) for b in given["blocks"]
        ),
    )
    return Results(
        format=FORMAT,
        version=VERSION,
        id="2026-11-22T120000-7",
        created="2026-11-22T12:00:00Z",
        finished="2026-11-22T12:09:00Z",
        command=("crossfade", "run", "--profile", "quick", "--seed", "7"),
        profile="quick",
        seed=7,
        **given,
    )


def without(results: Results, variant: str) -> Results:
    """The same run, had this variant or limit not been there."""
    left = [v for v in (results.baseline, *results.candidates) if v != variant]
    return msgspec.structs.replace(
        results,
        baseline=left[0],
        candidates=tuple(left[1:]),
        variants=tuple(v for v in results.variants if v.name != variant),
        scenarios=tuple(
            msgspec.structs.replace(s, variants=tuple(v for v in s.variants if v != variant)) for s in results.scenarios
        ),
        blocks=tuple(b for b in results.blocks if b.variant != variant),
    )


def hostile(text: str) -> Results:
    """The full run with this text in every field that a caller may name."""
    results = full()
    renamed = {"rust": text}
    return msgspec.structs.replace(
        results,
        candidates=(text,),
        command=("crossfade", text),
        profile=text,
        notes=(text,),
        environment=environment(
            pinning=text, warnings=(text,), nginx=text, packages={text: text}, native={"profile": text, "version": text}
        ),
        scenarios=tuple(
            msgspec.structs.replace(
                s,
                title=text,
                summary=text,
                left_out={text: text},
                variants=tuple(renamed.get(v, v) for v in s.variants),
            )
            for s in results.scenarios
        ),
        variants=tuple(msgspec.structs.replace(v, name=renamed.get(v.name, v.name)) for v in results.variants),
        blocks=tuple(
            msgspec.structs.replace(
                b,
                variant=renamed.get(b.variant, b.variant),
                status="void" if b.round == 2 else b.status,
                error=text,
                errors={text: 3},
                notes=(text,),
            )
            for b in results.blocks
        ),
        parity=(Parity(scenario=text, variants=(text,), ok=False, detail=text),),
        attachments=(Attachment(path=text, what=text, scenario=text, variant=text),),
        selftest=SelfTest(
            variant=text,
            scenario=text,
            rounds=9,
            rounds_per_verdict=3,
            log_ratios={},
            false_alarms={text: 0.02},
            threshold=0.05,
            created="now",
        ),
    )


def scaled(results: Results, scenario: str, metric: str, factors: tuple[float, ...], variant: str = "rust") -> Results:
    """The same run with one metric of one variant multiplied round by round."""

    def changed(block: Block) -> Block:
        if (block.scenario, block.variant) != (scenario, variant) or metric not in block.metrics:
            return block
        metrics = {**block.metrics, metric: block.metrics[metric] * factors[block.round]}
        return msgspec.structs.replace(block, metrics=metrics)

    return msgspec.structs.replace(results, blocks=tuple(changed(b) for b in results.blocks))
