"""The ruler against what is known without it, and what the run cost besides measuring: sentences and a table. Pure.

The rule: what was asked stands beside what was measured, met or not.
"""

from __future__ import annotations

from crossfade.harness import overhead
from crossfade.harness.crosscheck.judge import Check, checks
from crossfade.harness.samples import Results
from crossfade.reports.words import plain, plural

NOT_CHECKED = (
    "The load generator was not checked against another tool on this machine; `crossfade crosscheck` does that, and "
    "adds it here."
)


def lines(results: Results) -> tuple[Check, ...]:
    """Every check of the machine\u2019s last cross-check, its words fit for the page."""
    return tuple(checks(results.crosscheck)) if results.crosscheck is not None else ()


def sentences(results: Results) -> tuple[str, ...]:
    """How many checks there were and are met, and the overhead."""
    found = lines(results)
    met = sum(line.met for line in found)
    if found and results.crosscheck is not None:
        tool = results.crosscheck.generators
        against = f" (wrk {tool.wrk} on nginx {tool.nginx}, {plural(tool.connections, 'connection')})" if tool else ""
        missed = [f"{line.what}: {line.said}, asked {line.asked}" for line in found if not line.met]
        told = f"The ruler was held against what is known without it{against}: {met} of {len(found)} checks are met"
        told += f"; not met: {'; '.join(missed)}." if missed else "."
    else:
        told = NOT_CHECKED
    cost = f"Of this run, {overhead.describe(results.overhead)}." if results.overhead is not None else ""
    return tuple(plain(line) for line in (told, cost) if line)
