"""Fabricated results with known truths, for tests of statistics, gate and report. Never shipped, never a measurement.

``make_results(seed)`` looks like a quick run over all nine scenarios: ``rust`` about 2.6 times ``python``, two
limits, one failed block, one void block, ladders with known slopes. The histogram encoder is written from the
HdrHistogram V2 specification, independently of ``crossfade.harness.hdr``.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import random
import struct
import zlib

from tests.fabricated_operations import operations

from crossfade.harness.samples import (
    FORMAT,
    VERSION,
    Block,
    Cpu,
    Environment,
    Kind,
    LoadPoint,
    Mark,
    Mode,
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

LIMITS = ("nginx", "ceiling")
SPEED = {"python": 12_000.0, "rust": 31_000.0, "nginx": 40_000.0, "ceiling": 95_000.0}
SLOPE_KIB = {"python": 21.0, "rust": 9.5, "nginx": 0.7}
BASE_MIB = {"python": 38.0, "rust": 44.0, "nginx": 8.0}
OPS = {"register_us": (60, 25), "health_us": (210, 120), "pool_checkout_ns": (900, 60), "route_ns": (520, 18)}

_SUB_BUCKETS = 2048
_HALF = _SUB_BUCKETS // 2


def _index(value: int) -> int:
    bucket = max(0, value.bit_length() - 11)
    return bucket * _HALF + (value >> bucket)


def encode_hdr(values: list[int]) -> str:
    """Nanosecond values as an HdrHistogram V2 blob (1 ns to 60 s, three digits)."""
    counts: dict[int, int] = {}
    for value in values:
        counts[_index(value)] = counts.get(_index(value), 0) + 1
    body = bytearray()
    previous = -1
    for index in sorted(counts):
        if (gap := index - previous - 1) > 0:
            body += _zigzag(-gap)
        body += _zigzag(counts[index])
        previous = index
    head = struct.pack(">iiiiqqd", 0x1C849303 | 0x10, len(body), 0, 3, 1, 60_000_000_000, 1.0)
    packed = zlib.compress(head + bytes(body))
    return base64.b64encode(struct.pack(">ii", 0x1C849304 | 0x10, len(packed)) + packed).decode()


def _zigzag(number: int) -> bytes:
    left = ((number << 1) ^ (number >> 63)) & ((1 << 64) - 1)
    out = bytearray()
    while left >= 0x80 and len(out) < 8:
        out.append((left & 0x7F) | 0x80)
        left >>= 7
    out.append(left)
    return bytes(out)


@functools.cache
def _shape() -> tuple[float, ...]:
    rng = random.Random("fabricated shape")
    return tuple(sorted(rng.lognormvariate(0, 0.28) * (4 if rng.random() < 0.006 else 1) for _ in range(4000)))


def _latencies(rng: random.Random, median_us: float) -> list[int]:
    """4,000 sorted values; blocks differ in their scale."""
    scale = 1000 * median_us * rng.lognormvariate(0, 0.02)
    return [int(scale * factor) for factor in _shape()]


def make_point(
    rng: random.Random, *, mode: Mode, connections: int, rate: float | None, throughput: float, median_us: float
) -> LoadPoint:
    """One load phase of 1.5 s; 4,000 fabricated latencies stand for all of them."""
    values = _latencies(rng, median_us)
    blob = encode_hdr(values)
    completed = int(throughput * 1.5)
    p50, p99 = values[2000] / 1000, values[3960] / 1000
    return LoadPoint(
        mode=mode,
        connections=connections,
        rate_per_s=rate,
        duration_s=1.5,
        sent=completed + 3,
        completed=completed,
        errors={},
        mismatches=0,
        missed_sends=0,
        throughput_per_s=throughput,
        cpu_us_per_request=0.92e6 / throughput if rate is None else 0.8e6 / SPEED["rust"],
        latency=blob,
        service=blob,
        lag=encode_hdr([1000 + i for i in range(100)]),
        series=tuple(
            SeriesPoint(
                t_ms=100.0 * (i + 1),
                completed=int(throughput / 10 * rng.gauss(1, 0.02)),
                errors=0,
                p50_us=p50 * rng.gauss(1, 0.02),
                p99_us=p99 * rng.gauss(1, 0.05),
            )
            for i in range(15)
        ),
        generator="rust",
        generator_cpu_s=0.9,
        p50_us=p50,
        p99_us=p99,
        held=None if rate is None else p99 <= 10_000,
    )


def _throughput(rng: random.Random, name: str, scale: float) -> dict[str, object]:
    rate = SPEED[name] * scale * rng.lognormvariate(0, 0.02)
    point = make_point(rng, mode="closed", connections=16, rate=None, throughput=rate, median_us=16e6 / rate)
    assert point.p50_us is not None
    assert point.p99_us is not None
    assert point.cpu_us_per_request is not None
    metrics = {
        "throughput_per_s": rate,
        "cpu_us_per_request": point.cpu_us_per_request,
        "p50_us": point.p50_us,
        "p99_us": point.p99_us,
    }
    return {"metrics": metrics, "points": (point,)}


def _sweep(rng: random.Random, name: str) -> dict[str, object]:
    points = []
    knee = 0.0
    for rate in (4_000.0, 8_000.0, 16_000.0, 32_000.0, 64_000.0):
        load = rate / SPEED[name]
        median = 180 / max(0.05, 1 - load) if load < 1 else 200_000.0
        point = make_point(
            rng, mode="open", connections=64, rate=rate, throughput=min(rate, SPEED[name]), median_us=median
        )
        points.append(point)
        if not point.held:
            break
        knee = rate * rng.lognormvariate(0, 0.01)
    return {"metrics": {"knee_per_s": knee} if knee else {}, "points": tuple(points)}


def _ladder(rng: random.Random, name: str, *, loaded: bool) -> dict[str, object]:
    rungs = []
    for n in (0, 50, 100, 200, 400):
        idle = BASE_MIB[name] * 1024 + SLOPE_KIB[name] * n + rng.gauss(0, 25)
        rungs.append(Rung(connections=n, state="idle", pss_kib=idle, rss_kib=idle * 1.3))
        if loaded:
            rungs.append(Rung(connections=n, state="in_flight", pss_kib=idle + 6 * n, rss_kib=idle * 1.3 + 6 * n))
    metrics = {"slope_kib": SLOPE_KIB[name] * rng.lognormvariate(0, 0.01), "intercept_mib": BASE_MIB[name]}
    if loaded:
        metrics["slope_load_kib"] = metrics["slope_kib"] + 6
    return {"metrics": metrics, "ladder": tuple(rungs)}


def _ops(rng: random.Random, name: str) -> dict[str, object]:
    side = 0 if name == "python" else 1
    metrics = {key: pair[side] * rng.lognormvariate(0, 0.03) for key, pair in OPS.items()}
    # The breakers are equal on purpose: one comparison of the fabricated run is inconclusive.
    metrics["breaker_ns"] = 300 * rng.lognormvariate(0, 0.12)
    # A stream of its own: what is added here must not change what the other scenarios draw.
    own = random.Random(f"{metrics}")
    metrics["metrics_percent"] = (1.2, 0.2)[side] * own.lognormvariate(0, 0.03)
    metrics["call_cpu_us"] = (60.0, 25.0)[side] * own.lognormvariate(0, 0.03)
    return {"metrics": metrics, "operations": tuple(operations(own, side))}


def _faults(rng: random.Random, name: str) -> dict[str, object]:
    point = make_point(rng, mode="open", connections=32, rate=2000.0, throughput=1400.0, median_us=300)
    series = tuple(
        SeriesPoint(
            t_ms=100.0 * (i + 1),
            completed=0 if 15 <= i < 31 else 200,
            errors=200 if 15 <= i < 31 else 0,
            p50_us=300,
            p99_us=900,
        )
        for i in range(60)
    )
    errors = {"circuit_open": 3100, "server_crashed": 32}
    metrics = {
        "failed_requests": float(sum(errors.values())),
        "hung_requests": 0.0,
        "first_success_ms": (130.0 if name == "python" else 90.0) * rng.lognormvariate(0, 0.1),
        "restored_ms": (240.0 if name == "python" else 190.0) * rng.lognormvariate(0, 0.1),
    }
    marks = (Mark(t_ms=1500, what="crash"), Mark(t_ms=3000, what="recover"))
    return {"metrics": metrics, "points": (_replace_series(point, series),), "marks": marks, "errors": errors}


def _replace_series(point: LoadPoint, series: tuple[SeriesPoint, ...]) -> LoadPoint:
    return LoadPoint(**{**{f: getattr(point, f) for f in point.__struct_fields__}, "series": series})


_RATE = ("throughput_per_s", "cpu_us_per_request")
_TIMES = ("p50_us", "p99_us")
_SCENARIOS: tuple[tuple[str, str, ScenarioKind, tuple[str, ...], tuple[str, ...], tuple[str, ...]], ...] = (
    ("gateway-echo", "Echo, 16 bytes", "throughput", _RATE, _TIMES, LIMITS),
    ("gateway-echo-64k", "Echo, 64 KiB", "throughput", _RATE, _TIMES, LIMITS),
    ("gateway-stdio", "Echo over stdio", "throughput", _RATE, _TIMES, ()),
    ("calls-echo", "Calls in process", "calls", _RATE, _TIMES, ("ceiling",)),
    ("rate-sweep", "Latency against rate", "sweep", ("knee_per_s",), (), LIMITS),
    ("memory-clients", "Memory per client", "memory_clients", ("slope_kib",), ("intercept_mib",), ("nginx",)),
    ("memory-upstreams", "Memory per upstream", "memory_upstreams", ("slope_kib",), ("slope_load_kib",), ()),
    ("policy-ops", "Policy operations", "ops", (*tuple(OPS)[2:], "breaker_ns"), tuple(OPS)[:2], ()),
    ("faults-crash", "An upstream dies", "faults", ("restored_ms",), ("first_success_ms", "failed_requests"), ()),
)  # fmt: skip


def _body(rng: random.Random, kind: ScenarioKind, name: str, scenario: str) -> dict[str, object]:
    match kind:
        case "throughput" | "calls":
            return _throughput(
                rng, name, {"gateway-echo-64k": 0.25, "gateway-stdio": 0.8, "calls-echo": 0.6}.get(scenario, 1.0)
            )
        case "sweep":
            return _sweep(rng, name)
        case "memory_clients":
            return _ladder(rng, name, loaded=False)
        case "memory_upstreams":
            return _ladder(rng, name, loaded=True)
        case "ops":
            return _ops(rng, name)
        case "faults":
            return _faults(rng, name)
        case unknown:
            raise AssertionError(f"nothing is fabricated of kind {unknown!r}")


def make_environment() -> Environment:
    """A machine that does not exist."""
    return Environment(
        cpu=Cpu(model="Example CPU 1.0", count=2, affinity=(0, 1), virtual="kvm"),
        memory_mib=16_000,
        memory_limit_mib=None,
        kernel="6.1.0",
        os="Linux",
        hostname_hash="00000000",
        python="3.11.7",
        python_build="CPython, gcc",
        packages={"crossfade": "0.1.0", "msgspec": "0.22.0", "uvloop": "0.23.0"},
        native={"version": "0.1.0", "profile": "release", "features": []},
        nginx="1.22.1",
        commit="0" * 40,
        dirty=False,
        pinning="variant on CPU 0; fleet and load on CPU 1",
        warnings=("the processor is virtual: neighbours may disturb",),
    )


def make_results(seed: int = 7, *, rounds: int = 5, flaws: bool = True, faster: float = 1.0) -> Results:
    """A fabricated run. ``flaws`` adds a failed and a void block; ``faster`` scales the rust variant's throughput."""
    rng = random.Random(f"fabricated {seed}")
    scenarios, slots, blocks = [], [], []
    for name, title, kind, headline, shown, limits in _SCENARIOS:
        variants = ("python", "rust", *limits)
        scenarios.append(
            ScenarioRecord(
                name=name,
                title=title,
                summary=f"{title}: fabricated data.",
                kind=kind,
                sha256=hashlib.sha256(name.encode()).hexdigest(),
                tags=("fabricated",),
                rounds=rounds,
                threshold=0.05,
                headline=headline,
                shown=shown,
                objective_p99_ms=10.0 if kind == "sweep" else None,
                variants=variants,
                left_out={} if "nginx" in limits else {"nginx": "a plain reverse proxy cannot do this"},
                by_plan=(),
                spec={"name": name, "kind": kind},
            )
        )
        for number in range(rounds):
            for position, variant in enumerate(rng.sample(variants, len(variants))):
                slots.append(Slot(scenario=name, round=number, position=position, variant=variant))
                row: Kind = "limit" if variant in LIMITS else "variant"
                body = _body(rng, kind, variant, name)
                metrics = body["metrics"]
                assert isinstance(metrics, dict)
                if variant == "rust" and "throughput_per_s" in metrics:
                    metrics["throughput_per_s"] *= faster
                blocks.append(
                    Block(
                        scenario=name,
                        variant=variant,
                        kind=row,
                        round=number,
                        position=position,
                        status="ok",
                        started="2026-01-01T00:00:00Z",
                        wall_s=2.4,
                        hash_seed=rng.randrange(1, 2**32),
                        **body,  # type: ignore[arg-type]
                    )
                )
    if flaws:
        blocks[1] = _spoil(blocks[1], "failed", "the variant ended with exit code 139 before it was ready")
        blocks[9] = _spoil(blocks[9], "void", "the generator missed 4.1 % of its sends; use a lower rate")
    return Results(
        format=FORMAT,
        version=VERSION,
        id=f"2026-01-01T000000-{seed}",
        created="2026-01-01T00:00:00Z",
        finished="2026-01-01T00:08:00Z",
        complete=True,
        command=("crossfade", "run", "--profile", "quick", "--seed", str(seed)),
        profile="quick",
        seed=seed,
        baseline="python",
        candidates=("rust",),
        environment=make_environment(),
        scenarios=tuple(scenarios),
        variants=(
            VariantRecord(name="python", kind="variant", description="asyncio shell, Python cores"),
            VariantRecord(name="rust", kind="variant", description="tokio shell, Rust cores"),
            VariantRecord(name="nginx", kind="limit", description="nginx as a plain reverse proxy"),
            VariantRecord(name="ceiling", kind="limit", description="the fleet without a manager"),
        ),
        order=tuple(slots),
        blocks=tuple(blocks),
        parity=tuple(Parity(scenario=s.name, variants=("python", "rust"), ok=True) for s in scenarios),
        selftest=SelfTest(
            variant="python",
            scenario="gateway-echo",
            rounds=20,
            rounds_per_verdict=5,
            log_ratios={"throughput_per_s": tuple(rng.gauss(0, 0.02) for _ in range(20))},
            false_alarms={"throughput_per_s": 0.002},
            threshold=0.05,
            created="2026-01-01T00:00:00Z",
        ),
        notes=("fabricated for tests",),
    )


def _spoil(block: Block, status: str, error: str) -> Block:
    kept = {f: getattr(block, f) for f in block.__struct_fields__}
    empty: dict[str, object] = {"metrics": {}, "points": (), "ladder": ()} if status == "failed" else {}
    return Block(**{**kept, **empty, "status": status, "error": error})


def make_ops_only(seed: int = 1) -> Results:
    """The smallest useful results: one scenario, no limits, two rounds; what a report must survive."""
    full = make_results(seed, rounds=2, flaws=False)
    keep = "policy-ops"
    return Results(
        **{
            **{f: getattr(full, f) for f in full.__struct_fields__},
            "scenarios": tuple(s for s in full.scenarios if s.name == keep),
            "blocks": tuple(b for b in full.blocks if b.scenario == keep),
            "order": tuple(s for s in full.order if s.scenario == keep),
            "parity": (),
            "selftest": None,
            "complete": False,
            "finished": None,
        }
    )
