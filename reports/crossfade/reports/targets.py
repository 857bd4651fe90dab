"""What the project set itself to reach, so that a report shows the distance instead of hiding it.

Ratios to nginx, rates and slopes only: figures that mean the same on another machine, or that name their condition.
A target is not a verdict: it is judged on the mean, and the interval stands beside it in the table it comes from.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from crossfade.harness.samples import METRICS
from crossfade.harness.stats import Analysis
from crossfade.reports.page import Goal
from crossfade.reports.words import digits, lowered, rate


@dataclass(frozen=True, slots=True)
class Target:
    """``against`` names the limit whose figure the value is divided by; None means the value itself."""

    scenario: str
    variant: str
    metric: str
    value: float
    against: str | None = None
    requires: tuple[str, float] | None = None
    """(limit, throughput) below which the machine is too slow for the target to mean anything."""


TARGETS: tuple[Target, ...] = (
    Target("gateway-echo", "rust", "throughput_per_s", 0.6, "nginx"),
    Target("gateway-echo", "rust", "cpu_us_per_request", 1.6, "nginx"),
    Target("gateway-echo-64k", "rust", "throughput_per_s", 0.8, "nginx"),
    Target("gateway-echo", "python", "throughput_per_s", 0.25, "nginx"),
    Target("gateway-echo-64k", "python", "throughput_per_s", 0.25, "nginx"),
    Target("calls-echo", "rust", "throughput_per_s", 15_000, requires=("ceiling", 50_000)),
    Target("calls-echo", "python", "throughput_per_s", 5_000, requires=("ceiling", 50_000)),
    Target("policy-ops", "rust", "pool_checkout_ns", 100),
    Target("policy-ops", "rust", "breaker_ns", 50),
    Target("policy-ops", "rust", "route_1000_ns", 300),
    Target("policy-ops", "rust", "metrics_percent", 3),
    Target("policy-ops", "python", "metrics_percent", 3),
    Target("memory-clients", "rust", "slope_kib", 16),
    Target("memory-clients", "python", "slope_kib", 32),
    Target("memory-upstreams", "rust", "slope_kib", 24),
    Target("memory-upstreams", "python", "slope_kib", 64),
)


def memory_target(scenario: str, variant: str) -> float | None:
    """KiB per connection asked of a variant, or None."""
    for target in TARGETS:
        if (target.scenario, target.variant, target.metric) == (scenario, variant, "slope_kib"):
            return target.value
    return None


def goals(analysis: Analysis) -> tuple[Goal, ...]:
    """Every target that this run could have measured, met or not."""
    ran = {(s.scenario, s.variant) for s in analysis.summaries}
    return tuple(_goal(analysis, target) for target in TARGETS if (target.scenario, target.variant) in ran)


def _goal(analysis: Analysis, target: Target) -> Goal:
    metric = METRICS[target.metric]
    higher: Literal["at least", "at most"] = "at least" if metric.better == "higher" else "at most"
    unit = f"of {target.against}" if target.against else metric.unit
    shown = rate if metric.unit == "requests/s" and target.against is None else digits
    text = f"{target.variant}: {lowered(metric.title)}, {target.scenario}"
    asked = f"{higher} {shown(target.value) if target.value >= 100 else f'{target.value:g}'} {unit}"
    measured = _measured(analysis, target)
    if measured is None:
        return Goal(text, asked, None, None)
    met: bool | None = measured >= target.value if metric.better == "higher" else measured <= target.value
    if not met and target.requires is not None:
        limit, needed = target.requires
        room = _mean(analysis, target.scenario, limit, "throughput_per_s")
        if room is not None and room < needed:
            met = None
            asked += f", where the {limit} allows {rate(needed)}"
    return Goal(text, asked, f"{shown(measured)} {unit}", met)


def _measured(analysis: Analysis, target: Target) -> float | None:
    if target.against is None:
        return _mean(analysis, target.scenario, target.variant, target.metric)
    wanted = (target.scenario, target.metric, target.against, target.variant)
    for ratio in analysis.limits:
        if (ratio.scenario, ratio.metric, ratio.baseline, ratio.candidate) == wanted:
            return ratio.ratio
    return None


def _mean(analysis: Analysis, scenario: str, variant: str, metric: str) -> float | None:
    for found in analysis.summaries:
        if (found.scenario, found.variant, found.metric) == (scenario, variant, metric):
            return found.mean
    return None
