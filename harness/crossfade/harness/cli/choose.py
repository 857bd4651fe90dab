"""What a measuring command works on. A variant or limit that was asked for and is missing is never substituted."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from crossfade.harness import environment, plan
from crossfade.harness.cli import output
from crossfade.harness.gateways import Gateway, parse
from crossfade.harness.measure.bench import SERVER, TWIN
from crossfade.harness.problems import UsageError
from crossfade.harness.samples import METRICS, Kind, ScenarioRecord, VariantRecord
from crossfade.impls import find_variant, missing, parse_config, variant_names
from crossfade.impls.errors import VariantUnavailable
from crossfade.scenarios import LIMITS, Profile, Scenario


def choose_variants(asked: Sequence[str] | None) -> list[str]:
    """Variants to measure, baseline first. Asked for and missing is an error; otherwise missing is said loudly."""
    for name in asked or ():
        if (why := missing(name)) is not None:
            raise VariantUnavailable(why)
    if asked:
        return list(dict.fromkeys(asked))
    found = []
    for name in variant_names():
        if (why := missing(name)) is None:
            found.append(name)
        else:
            output.note(f"LEFT OUT: {why}")
    if not found:
        raise UsageError("no variant is installed; install one (`crossfade list impls` says how)")
    return found


def choose_limits(text: str) -> list[str]:
    """Limit rows. nginx is left out, loudly, where it is not installed."""
    asked = [] if text in ("none", "") else [t.strip() for t in text.split(",")]
    for name in asked:
        if name not in LIMITS:
            raise UsageError(f"--limits: {name!r} is unknown; choose from {', '.join(LIMITS)}, or none")
    if "nginx" in asked and environment.nginx_path() is None:
        output.note("LEFT OUT: nginx is not installed, so the practical limit is not measured; install nginx")
        asked.remove("nginx")
    return asked


def lay_out(
    scenario: Scenario,
    profile: Profile,
    variants: Sequence[str],
    limits: Sequence[str],
    *,
    rounds: int | None,
    asked: bool = True,
    gateways: Sequence[Gateway] = (),
) -> ScenarioRecord:
    """Which rows a scenario gets, and why others are left out. ``asked``: the user named the variants."""
    left_out = {
        v: f"lacks {', '.join(sorted(lacking))}"
        for v in variants
        if (lacking := set(scenario.needs) - find_variant(v.partition(TWIN)[0]).capabilities)
    }
    cannot = {g.name: why for g in gateways if (why := g.lacks(scenario)) is not None}
    by_plan = list(cannot)
    for name in variants if not asked else ():
        where = find_variant(name).measured_in
        if name not in left_out and where and not where & set(scenario.tags):
            left_out[name] = f"measured only in scenarios tagged {' or '.join(sorted(where))}, unless --impl names it"
            by_plan.append(name)
    left_out |= cannot
    rows = [v for v in (*variants, *(g.name for g in gateways)) if v not in left_out]
    rows += [x for x in limits if x in scenario.limits]
    return plan.record(scenario, profile, variants=rows, left_out=left_out, by_plan=by_plan, rounds=rounds)


def choose_gateways(options: argparse.Namespace) -> list[Gateway]:
    """What the user brought by ``--command`` and ``--url``. Raises UsageError or Unavailable."""
    return parse(options.command, options.url, fleet_port=options.fleet_port, known=variant_names())


def check_scenario(scenario: Scenario) -> None:
    """What only the harness and the interface know of a scenario. Raises UsageError, ConfigError."""
    if unknown := sorted({*scenario.headline, *scenario.shown} - METRICS.keys()):
        known = ", ".join(METRICS)
        raise UsageError(f"scenario {scenario.name!r}: metric {unknown[0]!r} is unknown; choose from {known}")
    entry = {"url": "http://127.0.0.1:1/mcp"} if scenario.upstream.transport == "http" else {"command": "server"}
    parse_config({"mcpServers": {SERVER: {**scenario.manager, **entry}}}, source=f"scenario {scenario.name!r}")


def measurable(records: Sequence[ScenarioRecord], *, selected: bool) -> list[ScenarioRecord]:
    """Those that somebody can run. One that nobody can is an error if the user ``selected`` it, else a notice."""
    found = []
    for record in records:
        if set(record.variants) - set(LIMITS):
            found.append(record)
            continue
        why = "; ".join(f"{name}: {reason}" for name, reason in record.left_out.items() if name not in LIMITS)
        text = f"scenario {record.name!r} cannot be measured on what was chosen ({why})"
        if selected:
            raise UsageError(f"{text}; leave it out")
        output.note(f"LEFT OUT: {text}")
    if not found:
        raise UsageError("nothing that was chosen can be measured; see `crossfade list scenarios`")
    return found


def describe(name: str | Gateway) -> VariantRecord:
    """The record of a variant, of its twin, or of a gateway that the user brought."""
    kind: Kind = "variant"
    if isinstance(name, Gateway):
        return VariantRecord(name=name.name, kind=kind, description=name.describe())
    return VariantRecord(name=name, kind=kind, description=find_variant(name.partition(TWIN)[0]).description)


def generator(asked: str = "auto") -> str:
    """``rust`` where the native module is installed, else ``python``, said loudly. Raises VariantUnavailable."""
    why = missing("rust")
    if asked == "rust" and why is not None:
        raise VariantUnavailable(f"--generator rust: {why}")
    if why is None and asked != "python":
        return "rust"
    output.note("the Python load generator is used: it is slower than some of what it measures, trust no ceiling")
    return "python"


def command(argv: Sequence[str], seed: int) -> tuple[str, ...]:
    """What reproduces the run: its arguments, and the seed if it was not among them."""
    given = any(a == "--seed" or a.startswith("--seed=") for a in argv)
    return tuple(argv) if given else (*argv, "--seed", str(seed))
