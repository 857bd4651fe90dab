"""What a run found, as JSON for programs and as Markdown for people.

Rule: one table per era of client, one row per scenario, one column per thing that was run; nothing is summed up away.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from tests.conformance.suite import Outcome
from tests.conformance.verdict import ERAS, REVISIONS, Exempt, Where

Results = Mapping[Where, Mapping[str, Outcome]]


def as_json(servers: Results, clients: Results, faults: list[str]) -> dict[str, Any]:
    return {
        "faults": faults,
        "server": [{**asdict(where), "scenarios": _told(found)} for where, found in servers.items()],
        "client": [{**asdict(where), "scenarios": _told(found)} for where, found in clients.items()],
    }


def _told(found: Mapping[str, Outcome]) -> dict[str, Any]:
    return {
        name: {"passed": outcome.passed, "failures": outcome.failures, "warnings": outcome.warnings}
        for name, outcome in found.items()
    }


def as_markdown(
    servers: Results, clients: Results, scored: Mapping[str, Iterable[str]], exempts: Iterable[Exempt]
) -> str:
    """The tables. A scenario that is not scored stands below the others, in italics."""
    exempt = {(one.pairing, one.scenario) for one in exempts}
    parts = []
    for era in ERAS:
        mine = {where: found for where, found in servers.items() if where.pairing.startswith(f"{era}-")}
        if mine:
            title = f"## Server scenarios of {REVISIONS[era]}: {era} client"
            parts += [title, table(mine, list(scored[era]), exempt)]
    for era in ERAS:
        mine = {where: found for where, found in clients.items() if where.pairing.endswith(f"-{era}")}
        if mine:
            title = f"## Client scenarios of {REVISIONS[era]}: {era} server"
            parts += [title, table(mine, sorted({name for found in mine.values() for name in found}), exempt)]
    return "\n\n".join(parts) + "\n"


def table(results: Results, scored: list[str], exempt: set[tuple[str, str]]) -> str:
    """Rows are scenarios, columns pairing, upstream transport and variant."""
    others = sorted({name for found in results.values() for name in found if name not in scored})
    rows = [["scenario", *map(str, results)], ["---"] * (len(results) + 1)]
    for name in [*scored, *others]:
        cells = [cell(found.get(name), (where.pairing, name) in exempt) for where, found in results.items()]
        rows.append([name if name in scored else f"*{name}*", *cells])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def cell(outcome: Outcome | None, exempt: bool) -> str:
    if outcome is None:
        return "not run"
    if outcome.failures:
        return "no meaning" if exempt else f"**fails** ({len(outcome.failures)})"
    return f"passes, {len(outcome.warnings)} warned" if outcome.warnings else "passes"
