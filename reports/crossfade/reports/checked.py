"""The ruler against what is known without it, and what the run cost besides measuring: sentences and a table. Pure.

The rule: what was asked stands beside what was measured, met or not.
"""

from __future__ import annotations

from crossfade.harness import overhead
from crossfade.harness.crosscheck.judge import checks
from crossfade.harness.samples import Results
from crossfade.reports.words import plain, plural

NOT_CHECKED = (
    "The load generator was not checked against another tool on this machine; `crossfade crosscheck` does that, and "
    "adds it here."
)


def table(results: Results) -> tuple[tuple[str, str, str, bool], ...]:
    """(what, measured, asked, met): every check of the machine's last cross-check."""
    if results.crosscheck is None:
        return ()
    return tuple(
        (plain(line.what), plain(line.said), plain(line.asked), line.met) for line in checks(results.crosscheck)
    )


def sentences(results: Results) -> tuple[str, ...]:
    """How many checks there were and are met, and the overhead."""
    found = table(results)
    met = sum(line[-1] for line in found)
    if found and results.crosscheck is not None:
        tool = results.crosscheck.generators
        against = f" (wrk {tool.wrk} on nginx {tool.nginx}, {plural(tool.connections, 'connection')})" if tool else ""
        missed = [f"{what}: {said}, asked {asked}" for what, said, asked, met_ in found if not met_]
        told = f"The ruler was held against what is known without it{against}: {met} of {len(found)} checks are met"
        told += f"; not met: {'; '.join(missed)}." if missed else "."
    else:
        told = NOT_CHECKED
    cost = f"Of this run, {overhead.describe(results.overhead)}." if results.overhead is not None else ""
    return tuple(plain(line) for line in (told, cost) if line)
