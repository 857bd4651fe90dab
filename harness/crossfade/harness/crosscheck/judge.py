"""What a stored cross-check says: each figure with its interval, what was asked, and whether it is met. Pure.

The rule: where there is an interval, the whole of it has to lie within what was asked; one round shows nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from statistics import fmean

import msgspec

from crossfade.harness.crosscheck.generators import BARE, OURS, WRK, rounds_of
from crossfade.harness.crosscheck.ladder import slope
from crossfade.harness.crosscheck.record import Arena, CrossCheck, Generators, Large, Sent, Stall
from crossfade.harness.crosscheck.stalls import expected_ms
from crossfade.harness.stats.pairs import interval

THROUGHPUT, LATENCY, CEILING = 0.03, 0.10, 2.0
STALL, SLOPE = 0.05, 0.10
SECONDS, MEGABYTES = 10.0, 500.0


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One line: ``value`` with its interval, in words as ``said``, against what was ``asked``."""

    part: str
    what: str
    value: float
    low: float | None
    high: float | None
    said: str
    asked: str
    met: bool


def checks(found: CrossCheck) -> tuple[Check, ...]:
    """Every line of the parts that were measured, in order."""
    lines: list[Check] = []
    if found.generators is not None:
        lines += _generators(found.generators)
    if found.stalls is not None:
        lines += [_stalled(stall, percentile) for stall in found.stalls.runs for percentile in (99.0, 99.9)]
    if found.arena is not None:
        lines.append(_arena(found.arena))
    if found.large is not None:
        lines += _large(found.large)
    return tuple(lines)


def _generators(found: Generators) -> Iterator[Check]:
    asked: tuple[tuple[str, Callable[[Sent], float], float], ...] = (
        ("throughput", lambda one: one.throughput_per_s, THROUGHPUT),
        ("p50", lambda one: one.p50_us, LATENCY),
        ("p99", lambda one: one.p99_us, LATENCY),
    )
    for what, of, within in asked:
        logs = [fmean(math.log(of(turn[OURS]) / of(turn[WRK])) for turn in turns) for turns in rounds_of(found)]
        yield _ratio(f"{what} by crossfade's generator over wrk's", logs, (1 - within, 1 + within), f"{within:.0%}")
    # Per core: a second over the processor time of one request.
    logs = [
        fmean(math.log(turn[OURS].target_cpu_us / turn[BARE].generator_cpu_us) for turn in turns)
        for turns in rounds_of(found)
    ]
    yield _ratio("requests per core, generator over nginx", logs, (CEILING, math.inf), "")


def _ratio(what: str, logs: list[float], allowed: tuple[float, float], within: str) -> Check:
    found = interval(logs)
    value = math.exp(found.mean)
    low, high = (None if end is None else math.exp(end) for end in (found.low, found.high))
    met = low is not None and high is not None and allowed[0] <= low and high <= allowed[1]
    bounds = "one round has no interval" if low is None else f"{low:.3f} to {high:.3f}"
    return Check(
        part="generators",
        what=what,
        value=value,
        low=low,
        high=high,
        said=f"{value:.3f} ({bounds}; {found.n} rounds)",
        asked=f"within {within}" if within else f"at least {allowed[0]:g}",
        met=met,
    )


def _stalled(stall: Stall, percentile: float) -> Check:
    measured = stall.p99_ms if percentile == 99.0 else stall.p999_ms
    theory = expected_ms(stall, percentile)
    return Check(
        part="stalls",
        what=f"p{percentile:g} over a stall of {stall.stalled_s:.1f} s, {stall.arrivals} arrivals, "
        f"{stall.generator} generator",
        value=measured / theory,
        low=None,
        high=None,
        said=f"{measured:.0f} ms, by theory {theory:.0f} ms ({measured / theory - 1:+.1%})",
        asked=f"within {STALL:.0%}",
        met=abs(measured / theory - 1) <= STALL,
    )


def _arena(found: Arena) -> Check:
    line = slope(found)
    bounds, met = "too few rungs for an interval", False
    if line.low is not None and line.high is not None:
        bounds = f"{line.low:.2f} to {line.high:.2f}"
        met = line.low <= found.kib <= line.high and (line.high - line.low) / 2 < SLOPE * found.kib
    return Check(
        part="arena",
        what=f"memory per connection of a manager that holds {found.kib:g} KiB",
        value=line.slope,
        low=line.low,
        high=line.high,
        said=f"{line.slope:.2f} KiB ({bounds})",
        asked=f"an interval that holds {found.kib:g} KiB, narrower than +-{SLOPE:.0%}",
        met=met,
    )


def _large(found: Large) -> Iterator[Check]:
    what = f"a results file of {found.samples:,} samples in {found.blocks:,} blocks ({found.file_mb:.0f} MB)"
    seconds = found.load_s + found.render_s
    for value, unit, most, which in (
        (seconds, "s", SECONDS, "read and rendered"),
        (found.peak_mb, "MB", MEGABYTES, "memory for that"),
    ):
        yield Check(
            part="large",
            what=f"{what}: {which}",
            value=value,
            low=None,
            high=None,
            said=f"{value:.3g} {unit}",
            asked=f"below {most:g} {unit}",
            met=value < most,
        )
