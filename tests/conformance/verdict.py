"""Whether a run is what it should be: every scored scenario passes, but for the exceptions that were reviewed.

Rule: an exception excuses a failure in a bridged pairing only, must be needed (one that passes is stale), and names
what exists; what was not run counts as failed.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.conformance.suite import Outcome

ERAS = ("legacy", "modern")
REVISIONS = {"legacy": "2025-11-25", "modern": "2026-07-28"}
PAIRINGS = tuple(f"{client}-{server}" for client in ERAS for server in ERAS)
BRIDGED = tuple(pairing for pairing in PAIRINGS if len(set(pairing.split("-"))) == 2)


@dataclass(frozen=True)
class Where:
    """What was in front of what: pairing (client's era, server's era), upstream transport, variant."""

    pairing: str
    upstream: str
    variant: str

    def __str__(self) -> str:
        return f"{self.pairing} {self.upstream} {self.variant}"


@dataclass(frozen=True)
class Exempt:
    """A scenario that has no meaning in a pairing."""

    pairing: str
    scenario: str
    reason: str


class BadExceptions(Exception):
    """The file is wrong; says where."""


def load(path: Path) -> list[Exempt]:
    """Read the exceptions file."""
    read = tomllib.loads(path.read_text())
    exempts = []
    for entry in read.get("exception", []):
        if set(entry) != {"pairing", "scenario", "reason"} or len(entry["reason"]) < 40:
            raise BadExceptions(f"{path.name}: {entry} must have pairing, scenario and a reason that explains it")
        if entry["pairing"] not in BRIDGED:
            raise BadExceptions(
                f"{path.name}: {entry['scenario']}: {entry['pairing']} allows no exception; make the scenario pass"
            )
        exempts.append(Exempt(**entry))
    keys = [(exempt.pairing, exempt.scenario) for exempt in exempts]
    if twice := [key for key in keys if keys.count(key) > 1]:
        raise BadExceptions(f"{path.name}: {twice[0]} is there twice; keep one")
    return exempts


def faults(
    results: Mapping[Where, Mapping[str, Outcome]], scored: Mapping[str, Iterable[str]], exempts: Iterable[Exempt]
) -> list[str]:
    """Everything that must not be. ``scored`` has the scenarios of each era of client."""
    told: list[str] = []
    exempt = {(one.pairing, one.scenario) for one in exempts}
    for where, outcomes in results.items():
        for scenario in scored[where.pairing.split("-")[0]]:
            outcome = outcomes.get(scenario)
            excused = (where.pairing, scenario) in exempt
            if outcome is None:
                told.append(f"{where}: {scenario} was not run")
            elif outcome.failures and not excused:
                told.append(f"{where}: {scenario}: {'; '.join(outcome.failures)}")
            elif excused and not outcome.failures:
                told.append(f"{where}: {scenario} passes; take its exception out")
    for pairing, scenario in sorted(exempt):
        if scenario not in scored[pairing.split("-")[0]]:
            told.append(f"exception {pairing} {scenario}: no scored scenario has that name")
    return told
