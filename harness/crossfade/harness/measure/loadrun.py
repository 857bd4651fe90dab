"""One load phase: send a plan, clock the target's processor over the measured window, build the sample.

The window is the generator's own: processor time is read when it says ``measuring`` and when it says ``measured``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import msgspec

from crossfade.harness.hdr import Histogram
from crossfade.harness.measure.bench import Bench
from crossfade.harness.measure.target import Target, spent_ns
from crossfade.harness.processes import Child
from crossfade.harness.samples import LoadPoint, SeriesPoint
from crossfade.harness.stats.latency import NEEDED
from crossfade.scenarios import Load, Upstream

MISSED_LIMIT = 0.01
LAG_LIMIT_US = 2_000.0
ERROR_LIMIT = 0.01
HANGS = ("timeout", "unanswered")


def plan(bench: Bench, target: Target, *, rate_per_s: float | None = None, seed_offset: int = 0) -> dict[str, Any]:
    """The generator's plan for this block; ``rate_per_s`` overrides the scenario's."""
    load = bench.scenario.load
    assert load is not None  # noqa: S101 - the scenario was validated: every kind that comes here has a load
    return {
        "host": target.host,
        "port": target.port,
        "path": target.path,
        "mode": load.mode,
        "connections": load.connections,
        "rate_per_s": rate_per_s or load.rate_per_s,
        "arrivals": load.arrivals,
        "warmup_s": bench.rounds.warmup_s,
        "duration_s": bench.rounds.duration_s,
        "drain_s": load.drain_s,
        "era": load.era,
        "tool": target.tool,
        "payload_bytes": load.payload_bytes,
        "seed": (bench.seed * 1_000_003 + seed_offset) % (1 << 63),
        "check_every": load.check_every,
        "timeout_s": load.timeout_s,
        "generator": bench.generator,
        # The process is pinned when it is started.
        "cpu": None,
        **_asked(load, bench.scenario.upstream, target),
    }


def _asked(load: Load, upstream: Upstream, target: Target) -> dict[str, Any]:
    """The plan's optional keys, only those that the scenario asks for."""
    told: dict[str, Any] = {}
    if len(target.tools) > 1:
        told |= {"tool": None, "tools": list(target.tools)}
    elif upstream.events and target.tool.endswith("echo"):
        told["tool"] = target.tool.removesuffix("echo") + "progress"
    if load.mix is not None:
        told["mix"] = msgspec.to_builtins(load.mix)
    if load.chain > 1:
        told["chain"] = load.chain
    for key in ("cancel_per_mille", "cancel_after_ms", "session_calls", "burst"):
        if value := getattr(load, key):
            told[key] = value
    return told | ({"events": upstream.events} if upstream.events else {})


def run(
    bench: Bench,
    target: Target,
    body: dict[str, Any],
    *,
    during: Callable[[], None] | None = None,
) -> LoadPoint:
    """Run one phase. ``during`` is called when measuring starts, and has to return before it ends."""
    with bench.load(body) as child:
        return collect(child, target, body, during=during)


def collect(child: Child, target: Target, body: dict[str, Any], *, during: Callable[[], None] | None) -> LoadPoint:
    """Follow a generator (or an in-process loop that speaks the same events) to its result."""
    patience = body["warmup_s"] + 30.0
    child.expect("measuring", timeout_s=patience)
    before = target.clock()
    if during is not None:
        during()
    child.expect("measured", timeout_s=body["duration_s"] + 30.0)
    spent = spent_ns(before, target.clock())
    result = child.expect("result", timeout_s=body["drain_s"] + body["timeout_s"] + 30.0)
    return point(body, result, cpu_ns=spent)


def point(body: dict[str, Any], result: dict[str, Any], *, cpu_ns: int | None) -> LoadPoint:
    """A load result as a sample."""
    mode: Literal["closed", "open"] = body["mode"]
    histogram = Histogram.decode(result["latency"])
    completed = int(result["completed"])
    return LoadPoint(
        mode=mode,
        connections=body["connections"],
        rate_per_s=body["rate_per_s"] if mode == "open" else None,
        duration_s=result["duration_s"],
        sent=result["sent"],
        completed=completed,
        errors=result["errors"],
        mismatches=result["mismatches"],
        missed_sends=result["missed_sends"],
        throughput_per_s=result["throughput_per_s"],
        cpu_us_per_request=cpu_ns / 1000 / completed if cpu_ns is not None and completed else None,
        latency=result["latency"],
        service=result["service"],
        lag=result["lag"],
        series=tuple(SeriesPoint(**p) for p in result["series"]),
        generator=result["generator"],
        generator_cpu_s=result["generator_cpu_s"],
        p50_us=value_at(histogram, 50.0),
        p99_us=value_at(histogram, 99.0),
        by_method=result.get("by_method", {}),
        cancelled=result.get("cancelled", 0),
        events=result.get("events", 0),
        sessions=result.get("sessions", 0),
        drain_ms=result.get("drain_ms"),
        connects_per_s=result.get("connects_per_s"),
    )


def rates(found: LoadPoint) -> dict[str, float]:
    """Processor time per request, if it is known, and what else a phase did per second."""
    metrics: dict[str, float] = {}
    if found.cpu_us_per_request is not None:
        metrics["cpu_us_per_request"] = found.cpu_us_per_request
    for name, count in (("events_per_s", found.events), ("sessions_per_s", found.sessions)):
        if count:
            metrics[name] = count / found.duration_s
    return metrics


def latency_metrics(found: LoadPoint) -> dict[str, float]:
    """p50, p99 and p99.9 of a phase, each only if there are samples enough."""
    histogram = Histogram.decode(found.latency)
    pairs = (("p50_us", 50.0), ("p99_us", 99.0), ("p999_us", 99.9))
    return {name: value for name, at in pairs if (value := value_at(histogram, at)) is not None}


def doubt(found: LoadPoint) -> str | None:
    """Why a phase may not count, or None (method rules 8 and 9)."""
    if found.mismatches:
        return f"{found.mismatches} answers did not match their request; run `crossfade parity` to see the difference"
    if not found.completed:
        return f"no request was answered; errors: {found.errors or 'none'}"
    failed = sum(found.errors.values())
    if failed > ERROR_LIMIT * found.sent:
        return f"{failed} of {found.sent} requests failed ({kinds(found.errors)}); find out why before timing counts"
    if found.missed_sends > MISSED_LIMIT * max(1, found.sent):
        return f"the generator missed {found.missed_sends} of {found.sent} sends; use a lower rate or more processors"
    if generator_late(found):
        late_ms = LAG_LIMIT_US / 1000
        return f"half of all sends left the generator more than {late_ms:g} ms late; lower the rate or add processors"
    return None


def loses(found: LoadPoint) -> bool:
    """True if more requests failed than a phase may lose, or none was answered: that is no doing of the machine's."""
    return not found.completed or sum(found.errors.values()) > ERROR_LIMIT * found.sent


def generator_late(found: LoadPoint) -> bool:
    """True if the generator itself sent late, so that latency from the intended time is not the target's doing."""
    if found.mode != "open" or not found.lag:
        return False
    lag = Histogram.decode(found.lag)
    return bool(lag.total_count > 0 and lag.value_at_percentile(50.0) / 1000 > LAG_LIMIT_US)


def failures(found: LoadPoint) -> dict[str, float]:
    """Requests that were answered with an error, and those that were not answered at all."""
    hung = sum(count for kind, count in found.errors.items() if any(h in kind for h in HANGS))
    return {"failed_requests": float(sum(found.errors.values()) - hung), "hung_requests": float(hung)}


def kinds(errors: dict[str, int]) -> str:
    """The most frequent kinds of error, in words."""
    return ", ".join(f"{kind}: {count}" for kind, count in sorted(errors.items(), key=lambda e: -e[1])[:3])


def value_at(histogram: Histogram | None, percentile: float) -> float | None:
    """A percentile in microseconds, if there are samples enough."""
    if histogram is None or histogram.total_count < NEEDED[percentile]:
        return None
    value: float = histogram.value_at_percentile(percentile) / 1000
    return value


def coarser(found: LoadPoint, most: int) -> LoadPoint:
    """The phase with at most ``most`` intervals: neighbours are merged, with the worst of their percentiles."""
    step = -(-len(found.series) // most)
    if step <= 1:
        return found
    groups = [found.series[at : at + step] for at in range(0, len(found.series), step)]
    merged = tuple(
        SeriesPoint(
            t_ms=group[-1].t_ms,
            completed=sum(p.completed for p in group),
            errors=sum(p.errors for p in group),
            p50_us=max(p.p50_us for p in group),
            p99_us=max(p.p99_us for p in group),
        )
        for group in groups
    )
    return msgspec.structs.replace(found, series=merged)
