"""A fabricated run of the standard profile: every kind of scenario, more of each than a reader takes in at once.

As :mod:`tests.fabricated`, with truths that can be read off: ``rust`` drains a burst in 320 ms and ``python`` in 830,
and an update loses nothing with ``rust`` and three requests with ``python``.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable

import msgspec
from tests.fabricated import LIMITS, SPEED, encode_hdr, make_point, make_results
from tests.fabricated_memory import busy, sessions, soak, stdio

from crossfade.harness.samples import Block, LoadPoint, Mark, Results, ScenarioKind, ScenarioRecord, SeriesPoint, Slot

BOTH = ("python", "rust")
Body = Callable[[random.Random, str], dict[str, object]]


def _throughput(scale: float) -> Body:
    def body(rng: random.Random, name: str) -> dict[str, object]:
        rate = SPEED[name] * scale * rng.lognormvariate(0, 0.02)
        point = make_point(rng, mode="closed", connections=16, rate=None, throughput=rate, median_us=16e6 / rate)
        return {
            "metrics": {
                "throughput_per_s": rate,
                "cpu_us_per_request": point.cpu_us_per_request,
                "p99_us": point.p99_us,
            },
            "points": (point,),
        }

    return body


def _latency(rng: random.Random, name: str) -> dict[str, object]:
    point = make_point(rng, mode="open", connections=32, rate=4000.0, throughput=4000.0, median_us=4e6 / SPEED[name])
    metrics = {"p50_us": point.p50_us, "p99_us": point.p99_us, "failed_requests": 0.0}
    return {"metrics": metrics, "points": (msgspec.structs.replace(point, held=None),)}


def _burst(rng: random.Random, name: str) -> dict[str, object]:
    count = 10_000
    drain_ms = count / SPEED[name] * 1000 * rng.lognormvariate(0, 0.02)
    blob = encode_hdr([int(drain_ms * 1e6 * (i + 1) / count) for i in range(count)])
    point = make_point(rng, mode="open", connections=256, rate=None, throughput=SPEED[name], median_us=100)
    point = msgspec.structs.replace(point, sent=count, completed=count, latency=blob, service=blob, series=())
    metrics = {"drain_ms": drain_ms, "p99_us": drain_ms * 990, "failed_requests": 0.0}
    return {"metrics": metrics, "points": (point,)}


def _connect(rng: random.Random, name: str) -> dict[str, object]:
    rate = SPEED[name] / 4 * rng.lognormvariate(0, 0.03)
    point = make_point(rng, mode="connect", connections=2000, rate=None, throughput=rate, median_us=500)
    metrics = {"connects_per_s": rate, "cpu_us_per_connection": 1e6 / rate, "failed_requests": 0.0}
    return {"metrics": metrics, "points": (msgspec.structs.replace(point, series=(), connects_per_s=rate),)}


def _lifecycle(rng: random.Random, name: str) -> dict[str, object]:
    scale = (1.0 if name == "python" else 0.4) * rng.lognormvariate(0, 0.05)
    return {"metrics": {"start_ms": 240 * scale, "stop_ms": 45 * scale, "child_recovery_ms": 130 * scale}}


def _series(name: str, lost: range) -> tuple[SeriesPoint, ...]:
    return tuple(
        SeriesPoint(
            t_ms=100.0 * (i + 1),
            completed=0 if i in lost else 200,
            errors=200 if i in lost else 0,
            p50_us=300,
            p99_us=900,
        )
        for i in range(60)
    )


def _around(rng: random.Random, name: str, lost: range) -> LoadPoint:
    point = make_point(rng, mode="open", connections=32, rate=2000.0, throughput=1400.0, median_us=300)
    return msgspec.structs.replace(point, series=_series(name, lost), held=None)


def _fault(kind: str) -> Body:
    def body(rng: random.Random, name: str) -> dict[str, object]:
        slow = 1.0 if name == "python" else 0.6
        return {
            "metrics": {
                "failed_requests": float(rng.randrange(2900, 3100)),
                "hung_requests": 0.0,
                "first_success_ms": 130 * slow * rng.lognormvariate(0, 0.1),
                "restored_ms": 240 * slow * rng.lognormvariate(0, 0.1),
            },
            "points": (_around(rng, name, range(15, 31)),),
            "marks": (Mark(t_ms=1500, what=kind), Mark(t_ms=3000, what="recover")),
            "errors": {"circuit_open": 3100, "server_crashed": 32},
        }

    return body


def _deploy(rng: random.Random, name: str) -> dict[str, object]:
    lost = name == "python"
    return {
        "metrics": {
            "update_ms": (420.0 if lost else 260.0) * rng.lognormvariate(0, 0.05),
            "failed_requests": 3.0 if lost else 0.0,
            "hung_requests": 0.0,
            "p99_us": 900.0 * rng.lognormvariate(0, 0.05),
        },
        "points": (_around(rng, name, range(20, 21) if lost else range(0)),),
        "marks": (Mark(t_ms=2000, what="update"), Mark(t_ms=2400, what="updated")),
    }


def _nodes(rng: random.Random, name: str) -> dict[str, object]:
    points = []
    for nodes in (1, 2, 4, 8):
        rate = SPEED[name] * rng.lognormvariate(0, 0.01)
        closed = make_point(rng, mode="closed", connections=16, rate=None, throughput=rate, median_us=16e6 / rate)
        points.append(msgspec.structs.replace(closed, nodes=nodes, series=()))
        if nodes <= 2:
            offered = make_point(rng, mode="open", connections=16, rate=3000.0, throughput=3000.0, median_us=300)
            points.append(msgspec.structs.replace(offered, nodes=nodes, series=(), held=None))
    return {"metrics": {"cpu_us_per_request": points[0].cpu_us_per_request}, "points": tuple(points)}


_COUNTS = ("failed_requests", "hung_requests")
_RATE = ("throughput_per_s", "cpu_us_per_request")
_LATER: tuple[tuple[str, ScenarioKind, tuple[str, ...], tuple[str, ...], tuple[str, ...], Body], ...] = (
    *(
        (name, "throughput", _RATE, ("p99_us",), LIMITS if "era" not in name else (), _throughput(scale))
        for name, scale in (
            ("gateway-echo-1k", 0.9), ("gateway-echo-1m", 0.03), ("gateway-echo-c1", 0.4), ("gateway-echo-c64", 1.05),
            ("gateway-echo-c256", 0.95), ("era-legacy", 0.85), ("era-modern-to-legacy", 0.7), ("mixed", 0.6),
            ("aggregate-lists", 0.2), ("replicas", 0.9), ("chain", 0.18), ("progress-streams", 0.3),
            ("session-churn", 0.25), ("cancel-storm", 0.5), ("slow-neighbour", 0.45),
        )
    ),
    ("gateway-latency", "latency", ("p99_us", "p50_us"), ("failed_requests",), LIMITS, _latency),
    ("burst", "burst", ("drain_ms",), ("p99_us", "failed_requests"), LIMITS, _burst),
    ("connect-storm", "connect", ("connects_per_s", "cpu_us_per_connection"), ("failed_requests",), (), _connect),
    ("start-http", "lifecycle", ("start_ms",), ("stop_ms",), (), _lifecycle),
    ("start-stdio", "lifecycle", ("start_ms", "child_recovery_ms"), ("stop_ms",), (), _lifecycle),
    *(
        (f"faults-{kind}", "faults", ("restored_ms",), ("first_success_ms", *_COUNTS), (), _fault(kind))
        for kind in ("hang", "flap", "garbage", "reset", "drip")
    ),
    *(
        (f"deploy-{way}", "deploy", ("update_ms",), (*_COUNTS, "p99_us"), (), _deploy)
        for way in ("recreate", "rolling", "blue-green", "canary")
    ),
    ("nodes", "nodes", ("cpu_us_per_request",), (), (), _nodes),
    ("memory-clients-busy", "memory_clients", ("slope_load_kib",), ("machine_kernel_kib",), ("nginx",), busy),
    ("memory-stdio", "memory_stdio", ("slope_kib",), ("slope_load_kib", "child_kib"), (), stdio),
    ("memory-sessions", "memory_sessions", ("session_kib",), (), (), sessions),
    ("soak", "soak", ("soak_pss_mib",), (), (), soak),
)  # fmt: skip


def make_standard(seed: int = 7, *, rounds: int = 4) -> Results:
    """``make_results`` and all that came later, in one run."""
    first = make_results(seed, rounds=rounds)
    rng = random.Random(f"fabricated standard {seed}")
    records, slots, blocks = list(first.scenarios), list(first.order), list(first.blocks)
    for name, kind, headline, shown, limits, body in _LATER:
        variants = (*BOTH, *limits)
        records.append(
            ScenarioRecord(
                name=name,
                title=name.replace("-", " ").capitalize(),
                summary=f"What `{name}` does: fabricated data.",
                kind=kind,
                sha256=hashlib.sha256(name.encode()).hexdigest(),
                tags=("fabricated",),
                rounds=rounds,
                threshold=0.05,
                headline=headline,
                shown=shown,
                variants=variants,
                by_plan=(),
                spec={"name": name, "kind": kind},
            )
        )
        for number in range(rounds):
            for position, variant in enumerate(rng.sample(variants, len(variants))):
                slots.append(Slot(scenario=name, round=number, position=position, variant=variant))
                blocks.append(_block(slots[-1], rng.randrange(1, 2**32), body(rng, variant)))
    return msgspec.structs.replace(
        first, profile="standard", scenarios=tuple(records), order=tuple(slots), blocks=tuple(blocks)
    )


def _block(slot: Slot, hash_seed: int, body: dict[str, object]) -> Block:
    return Block(
        scenario=slot.scenario,
        variant=slot.variant,
        kind="limit" if slot.variant in LIMITS else "variant",
        round=slot.round,
        position=slot.position,
        started="2026-01-01T00:00:00Z",
        wall_s=2.4,
        hash_seed=hash_seed,
        **{"status": "ok", **body},  # type: ignore[arg-type]
    )
