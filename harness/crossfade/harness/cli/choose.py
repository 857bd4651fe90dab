"""What a measuring command works on. A variant or limit that was asked for and is missing is never substituted."""

from __future__ import annotations

from collections.abc import Sequence

from crossfade.harness import environment, plan
from crossfade.harness.cli import output
from crossfade.harness.measure.bench import TWIN
from crossfade.harness.problems import UsageError
from crossfade.harness.samples import Kind, ScenarioRecord, VariantRecord
from crossfade.impls import VARIANTS, missing
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
    for name in VARIANTS:
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
) -> ScenarioRecord:
    """Which rows a scenario gets, and why others are left out. ``asked``: the user named the variants."""
    left_out = {
        v: f"lacks {', '.join(sorted(lacking))}"
        for v in variants
        if (lacking := set(scenario.needs) - VARIANTS[v.partition(TWIN)[0]].capabilities)
    }
    by_plan = []
    for name in variants if not asked else ():
        where = VARIANTS[name].measured_in
        if name not in left_out and where and not where & set(scenario.tags):
            left_out[name] = f"measured only in scenarios tagged {' or '.join(sorted(where))}, unless --impl names it"
            by_plan.append(name)
    rows = [v for v in variants if v not in left_out] + [x for x in limits if x in scenario.limits]
    return plan.record(scenario, profile, variants=rows, left_out=left_out, by_plan=by_plan, rounds=rounds)


def describe(name: str) -> VariantRecord:
    """The record of a variant or of its twin."""
    kind: Kind = "variant"
    return VariantRecord(name=name, kind=kind, description=VARIANTS[name.partition(TWIN)[0]].description)


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
