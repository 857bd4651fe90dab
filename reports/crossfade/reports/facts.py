"""Where and how the numbers were made: banners, environment, method, scenarios, the command. Words only, from stored
facts.

The rule: whatever makes a number weaker than it looks is a banner above it, not a footnote below.
"""

from __future__ import annotations

import shlex
import statistics
from collections.abc import Iterator

from crossfade.harness.samples import Results
from crossfade.harness.stats import Analysis
from crossfade.reports import trusted
from crossfade.reports.measured import Cast, summary
from crossfade.reports.page import Banner
from crossfade.reports.words import joined, plain, plural, times

ROOM = 1.5
"""Below this ratio of ceiling to fastest variant the load side may be what was measured."""


def banners(results: Results, analysis: Analysis, cast: Cast) -> tuple[Banner, ...]:
    """What must be known before any number is read."""
    return tuple(_banners(results, analysis, cast))


def _banners(results: Results, analysis: Analysis, cast: Cast) -> Iterator[Banner]:
    if not results.complete:
        yield Banner(
            "This run is not complete.",
            f"{len(results.blocks)} of {len(results.order)} planned blocks are in; what is shown rests on those.",
        )
    native = results.environment.native
    profile = plain(str(native.get("profile", "unknown"))) if native else None
    if profile not in (None, "release"):
        yield Banner(
            f"The native module is a {profile} build.",
            "Its figures understate what a release build does. Build with the release profile before quoting any "
            "of them.",
        )
    for name, why in _missing(results, cast):
        yield Banner(f"{name} is missing.", why)
    if any(p.generator == "python" for b in results.blocks for p in b.points):
        yield Banner(
            "The load generator is the Python one.",
            "It is slower than the native generator and may limit the faster variants; install crossfade-native "
            "for figures.",
        )
    for parity in results.parity:
        if not parity.ok and parity.blamed:
            yield Banner(
                f"{joined([plain(v) for v in parity.blamed])} did not answer rightly on {plain(parity.scenario)}.",
                f"What answers wrongly is not timed. {plain(parity.detail)}",
            )
        elif not parity.ok:
            yield Banner(
                f"{joined([plain(v) for v in parity.variants])} do not give the same answers on "
                f"{plain(parity.scenario)}.",
                f"Its timings compare unlike things. {plain(parity.detail)}",
            )
    for f in analysis.failures:
        if f.verdict != "inconclusive":
            loser, keeper = (f.candidate, f.baseline) if f.verdict == "worse" else (f.baseline, f.candidate)
            yield Banner(
                f"{plain(loser)} loses requests that {plain(keeper)} does not, on {plain(f.scenario)}.",
                f"{plain(f.candidate)} failed {f.candidate_failed:,} of {f.candidate_sent:,}, {plain(f.baseline)} "
                f"{f.baseline_failed:,} of {f.baseline_sent:,}. That is no chance: of "
                f"{plural(f.more + f.fewer, 'round')} in which they differed, {max(f.more, f.fewer)} went one way.",
            )
    if analysis.lost:
        where = sorted({f"{plain(lost.variant)} on {plain(lost.scenario)}" for lost in analysis.lost})
        yield Banner(
            f"{len(analysis.lost)} of {plural(len(results.blocks), 'block')} failed or do not count.",
            f"They belong to {joined(where)}; the reasons stand under \u201cErrors and lost blocks\u201d.",
        )
    short = {scenario: times(ratio) for scenario, ratio in _room(results, analysis, cast) if ratio < ROOM}
    if short:
        yield Banner(
            f"On {joined(list(short))} the yardstick is short.",
            f"Without any manager the load side reaches only {joined(list(short.values()))} times the fastest "
            f"variant{' there' if len(short) > 1 else ''}, so part of what was measured may be the load side.",
        )


def _missing(results: Results, cast: Cast) -> Iterator[tuple[str, str]]:
    limits = {v.name for v in results.variants if v.kind == "limit"} | {"nginx", "ceiling"}
    said: dict[str, list[str]] = {}
    for record in results.scenarios:
        for name, why in record.left_out.items():
            # Left out by plan is no finding; the scenario's own line says it.
            if name not in limits and name not in (record.by_plan or ()):
                said.setdefault(name, []).append(f"{plain(record.name)}: {plain(why)}.")
    ran = {b.variant for b in results.blocks if b.status == "ok"}
    for name in (results.baseline, *results.candidates):
        if name not in ran and name not in said:
            said[name] = ["Not one of its blocks counts."]
    for name, reasons in said.items():
        yield plain(name), " ".join(reasons)
    if not results.candidates and not said:
        yield "A second variant", "Only one was measured, so this page compares it with the limits alone."


def _room(results: Results, analysis: Analysis, cast: Cast) -> Iterator[tuple[str, float]]:
    """How many times the fastest variant the load side alone reaches, by scenario."""
    for record in results.scenarios:
        ceiling = summary(analysis, record.name, "ceiling", "throughput_per_s")
        found = [summary(analysis, record.name, name, "throughput_per_s") for name in cast.variants]
        fastest = max((s.mean for s in found if s is not None), default=0.0)
        if ceiling is not None and fastest > 0:
            yield plain(record.name), ceiling.mean / fastest


def environment(results: Results) -> tuple[tuple[str, str], ...]:
    """(what, value) of the machine and the software, only what is known."""
    env = results.environment
    cpu = env.cpu
    limits = [
        f"{plural(len(cpu.affinity), 'core')} usable of {cpu.count}",
        f"virtual machine ({cpu.virtual})" if cpu.virtual else "",
        f"governor {cpu.governor}" if cpu.governor else "",
        {True: "boost on", False: "boost off"}.get(cpu.boost, "") if cpu.boost is not None else "",
        f"limited to {cpu.quota:g} CPUs" if cpu.quota else "",
    ]
    memory = f"{env.memory_mib:,} MiB" + (f", limited to {env.memory_limit_mib:,} MiB" if env.memory_limit_mib else "")
    native = env.native or {}
    rust = ", ".join(
        _named(key, _value(native[key]))
        for key in ("version", "profile", "rustc", "features", "abi")
        if native.get(key)
    )
    commit = None if env.commit is None else env.commit[:12] + (", with uncommitted changes" if env.dirty else "")
    rows = (
        ("Processor", f"{cpu.model}; {', '.join(part for part in limits if part)}"),
        ("Memory", memory),
        ("System", f"{env.os}, kernel {env.kernel}"),
        ("Pinning", env.pinning),
        ("Python", f"{env.python} ({env.python_build})" if env.python_build else env.python),
        ("Packages", ", ".join(f"{name} {version}" for name, version in sorted(env.packages.items()))),
        ("Native module", rust or "not installed"),
        ("nginx", env.nginx or "not installed"),
        ("Commit", commit),
        ("Doctor", "; ".join(env.warnings)),
    )
    return tuple((label, plain(value)) for label, value in rows if value)


def _named(key: str, value: str) -> str:
    return value if value.startswith(key) else f"{key} {value}"


def _value(value: object) -> str:
    return " ".join(str(part) for part in value) if isinstance(value, (list, tuple)) else str(value)


def method(results: Results, analysis: Analysis, cast: Cast) -> tuple[str, ...]:
    """How the numbers are made, with this run's own figures in every sentence that has one."""
    rounds = sorted({s.rounds for s in results.scenarios})
    span = f"{rounds[0]}" if len(rounds) == 1 else f"{rounds[0]} to {rounds[-1]}" if rounds else "no"
    pinning = f" ({results.environment.pinning})" if results.environment.pinning else ""
    lines = [
        "Every block runs one variant on one scenario in fresh processes: the variant, the upstream fleet and the load "
        f"generator are three{pinning}.",
        "A round holds one block of every variant, in an order drawn from the seed, so that a machine that drifts "
        f"slows all of them alike. The seed was {results.seed}, and there were {span} rounds, fixed beforehand.",
        "A comparison is the mean of the log-ratios of two variants within a round, with a t-interval over "
        "rounds. Better or worse needs the interval to clear the threshold, not just zero, after Holm\u2019s "
        "correction over all verdicts of the page.",
        "Throughput is a closed loop at saturation and says nothing of latency. Latency comes from an open loop "
        "and runs from the time a request was meant to be sent, so that a stall is charged to all who waited. "
        "Histograms are merged; percentiles are never averaged, and none is shown that the samples do not carry "
        "(368 for p99, 3,688 for p99.9).",
        "Memory per connection is the slope of a line through a ladder of fresh processes (proportional set "
        "size), never a total divided by a count.",
        "CPU per request is user and system time of the variant\u2019s process over the requests it completed.",
        "nginx is a plain reverse proxy before the same fleet; the ceiling is the fleet with no manager before "
        "it. Both run in the same rounds.",
    ]
    ratios = [ratio for _, ratio in _room(results, analysis, cast)]
    if ratios:
        lines.append(
            f"The load side alone reached {times(statistics.median(ratios))} times the fastest variant (median over "
            f"scenarios; least {times(min(ratios))})."
        )
    lines.append(_parity(results))
    lines += trusted.compiled(analysis)
    return tuple(plain(line) for line in (*lines, *(f"Noted by the run: {note}." for note in results.notes)) if line)


def _parity(results: Results) -> str:
    if not results.parity:
        return "Answers were not compared between variants before timing."
    ok = sum(parity.ok for parity in results.parity)
    return (
        f"Before timing, the variants were asked the same questions: they agreed on {ok} of "
        f"{plural(len(results.parity), 'scenario')}."
    )


def scenarios(results: Results) -> tuple[tuple[str, str, str], ...]:
    """(name, what it does and what was left out, hash)"""
    rows = []
    for record in results.scenarios:
        left = "".join(f" {name} is left out: {why}." for name, why in record.left_out.items())
        rows.append((plain(record.name), plain(" ".join(f"{record.summary}{left}".split())), record.sha256[:12]))
    return tuple(rows)


def command(results: Results) -> str:
    """What to type to run it again."""
    return plain(shlex.join(results.command))
