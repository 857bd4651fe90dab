"""``crossfade list scenarios``: the catalogue for the eye, for machines, and as the page ``docs/catalogue.md``.

The rule: everything here is read from the scenarios' own files, so that the page cannot say otherwise than what runs; a
test compares the two.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from crossfade.harness.cli import output
from crossfade.harness.metrics import METRICS
from crossfade.harness.problems import EX_OK
from crossfade.scenarios import PROFILES, Kind, Scenario, builtin

GROUPS: tuple[tuple[str, str, tuple[Kind, ...]], ...] = (
    (
        "Throughput and CPU",
        "Closed loops: as fast as answers come. Compare CPU per request first.",
        ("throughput", "calls"),
    ),
    (
        "Latency",
        "Open loops: requests come when they are due, answered or not.",
        ("latency", "sweep", "burst", "connect"),
    ),
    (
        "Memory",
        "Slopes and growth, never a total.",
        ("memory_clients", "memory_upstreams", "memory_stdio", "memory_sessions", "soak"),
    ),
    ("Policy operations", "Without traffic.", ("ops",)),
    ("Beginning and end", "Medians over a few lives per block.", ("lifecycle",)),
    ("Faults", "Errors are the measurement; a request that gets no answer at all voids the block.", ("faults",)),
    ("Updates", "No request may fail.", ("deploy",)),
    ("Several managers", "One load over many processes.", ("nodes",)),
)
"""(title, what its scenarios have in common, kinds)"""

INTRODUCTION = """\
# The catalogue

What each of the {count} scenarios that ship with crossfade measures, and why. Written by `make catalogue` from the
files in `scenarios/crossfade/scenarios/data`, and a test compares. [scenarios.md](scenarios.md) explains the keys, and
how to add one.

`crossfade run NAME` runs one, in any profile; `crossfade run --profile P` without a name runs the suite of the profile
({counted})."""


def list_scenarios(options: argparse.Namespace) -> int:
    """Every built-in scenario: as a table, as JSON, or as the page."""
    scenarios = list(builtin().values())
    if options.json:
        output.dump(scenarios)
    elif options.markdown:
        output.say(page(scenarios))
    else:
        rows = [(s.name, s.kind, suites(s), s.title) for s in scenarios]
        output.say(output.table(("scenario", "kind", "whole run of", "what"), rows))
        tags = sorted({tag for s in scenarios for tag in s.tags})
        output.say(f"\n{len(scenarios)} scenarios; by name or tag each runs in every profile. Tags: {', '.join(tags)}")
    return EX_OK


def suites(scenario: Scenario) -> str:
    """The profiles in whose whole run it takes part."""
    return " ".join(p for p in PROFILES if p in scenario.suites) or "none"


def page(scenarios: Sequence[Scenario]) -> str:
    """``docs/catalogue.md``."""
    counted = ", ".join(f"{p} {sum(p in s.suites for s in scenarios)}" for p in PROFILES)
    lines = [INTRODUCTION.format(count=len(scenarios), counted=counted)]
    for title, common, kinds in GROUPS:
        mine = [s for s in scenarios if s.kind in kinds]
        if not mine:
            continue
        lines += ["", f"## {title}", "", common]
        for scenario in mine:
            lines += ["", *entry(scenario)]
    return "\n".join(lines)


def entry(scenario: Scenario) -> list[str]:
    """One scenario."""
    shown = f"; shown: {named(scenario.shown)}" if scenario.shown else ""
    lines = [
        f"### `{scenario.name}`",
        "",
        f"**{scenario.title}.** {' '.join(scenario.summary.split())}",
        "",
        f"- kind `{scenario.kind}`; whole runs: {suites(scenario)}; tags: {', '.join(scenario.tags) or 'none'}",
        f"- verdicts on {named(scenario.headline)}, from {scenario.threshold_percent:g} % on{shown}",
    ]
    if scenario.limits:
        lines.append(f"- beside it: {', '.join(scenario.limits)}")
    lines += [f"- no {limit}: {why}" for limit, why in scenario.left_out.items()]
    return lines


def named(metrics: Sequence[str]) -> str:
    """Metrics by their titles, with units."""
    return ", ".join(f"{METRICS[m].title} ({METRICS[m].unit})" for m in metrics)
