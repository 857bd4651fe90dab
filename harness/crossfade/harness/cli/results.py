"""Commands about results and this machine: ``report``, ``compare``, ``gate``, ``doctor``, ``list``."""

from __future__ import annotations

import argparse
from pathlib import Path

from crossfade.harness import doctor as doctor_
from crossfade.harness import gate as gate_
from crossfade.harness.cli import output, tables
from crossfade.harness.cli.catalogue import list_scenarios
from crossfade.harness.cli.run import write_report
from crossfade.harness.problems import EX_OK, UsageError
from crossfade.harness.samples import Results
from crossfade.harness.selftest import attached
from crossfade.harness.store import load
from crossfade.impls import find_variant, missing, variant_names
from crossfade.impls.errors import VariantUnavailable


def report(options: argparse.Namespace) -> int:
    """``crossfade report``: the page again, from what is stored."""
    loaded = [(path, attached(load(path), path if path.is_dir() else path.parent)) for path in options.results]
    if options.performance:
        return _performance(loaded)
    if options.markdown or options.into is not None:
        return _as_markdown(loaded, options.into)
    if options.out is not None and options.out.suffix == ".html" and len(loaded) > 1:
        raise UsageError(f"--out {options.out} is one file and {len(loaded)} results were given; name a folder")
    for path, results in loaded:
        beside = path if path.is_dir() else path.parent
        out = options.out or beside
        if options.out is not None and len(loaded) > 1:
            out = options.out / results.id
        output.say(str(write_report(results, out)))
    return EX_OK


def _performance(loaded: list[tuple[Path, Results]]) -> int:
    from crossfade.reports import performance  # noqa: PLC0415  imported late, as write_report says

    if len(loaded) > 1:
        raise UsageError(f"--performance takes one result and {len(loaded)} were given; give one")
    output.say(performance(loaded[0][1]).rstrip("\n"))
    return EX_OK


def _as_markdown(loaded: list[tuple[Path, Results]], into: Path | None) -> int:
    from crossfade.reports import markdown  # noqa: PLC0415  imported late, as write_report says

    if len(loaded) > 1:
        raise UsageError(f"--markdown and --into take one result and {len(loaded)} were given; give one")
    text = markdown(loaded[0][1])
    if into is None:
        output.say(text.rstrip("\n"))
        return EX_OK
    output.put(text, into)
    return EX_OK


def compare(options: argparse.Namespace) -> int:
    """``crossfade compare``: the gate's table without its exit code."""
    found = _gate(options)
    if options.format == "json":
        output.dump(found)
    else:
        output.say(tables.checks(found.checks, markdown=options.format == "markdown"))
    return EX_OK


def gate(options: argparse.Namespace) -> int:
    """``crossfade gate``: 0 fine, 1 regressed, 2 inconclusive."""
    found = _gate(options)
    if options.json:
        output.dump(found)
    else:
        output.say(tables.checks(found.checks))
        for missed in found.missing:
            output.say(f"cannot be compared, no or too few blocks that count: {missed}")
        output.say(f"\n{found.outcome}")
    return found.exit_code


def _gate(options: argparse.Namespace) -> gate_.Report:
    found = gate_.gate(load(options.base), load(options.candidate), threshold=options.threshold, force=options.force)
    for warning in found.warnings:
        output.note(f"FORCED although environments differ: {warning}")
    return found


def doctor(options: argparse.Namespace) -> int:
    """``crossfade doctor``: 0 if nothing is a problem, else 1."""
    findings = doctor_.examine()
    if options.json:
        output.dump(findings)
    else:
        for finding in findings:
            fix = f"\n          -> {finding.fix}" if finding.fix else ""
            output.say(f"{finding.level:>8}  {finding.what}{fix}")
    return 1 if any(f.level == "problem" for f in findings) else EX_OK


def list_(options: argparse.Namespace) -> int:
    """``crossfade list``."""
    if options.what == "scenarios":
        return list_scenarios(options)
    if options.markdown:
        raise UsageError("--markdown is the page of scenarios; leave it out")
    impls = [_told(name) for name in variant_names()]
    if options.json:
        output.dump(impls)
    else:
        for impl in impls:
            output.say(f"{impl['name']:<10} {impl['description']}")
            if impl["missing"]:
                output.say(f"{'':<10} not available: {impl['missing']}")
    return EX_OK


def _told(name: str) -> dict[str, object]:
    why = missing(name)
    try:
        variant = find_variant(name)
    except VariantUnavailable:  # a package's entry point that is broken
        return {"name": name, "description": "", "missing": why, "capabilities": []}
    capabilities = sorted(variant.capabilities)
    return {"name": name, "description": variant.description, "missing": why, "capabilities": capabilities}
