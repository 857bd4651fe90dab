"""Gateways whose truth is known: an honest relay, its twin, and relays with one small planted flaw each.

``python -m crossfade.harness.planted FLAW PORT UPSTREAM`` relays HTTP to the fleet, one upstream connection for each
client's, and is measured like any gateway of a user's. The rule: whatever the flaw, the same code runs for every call,
so that a flaw is the only difference.
"""

from __future__ import annotations

import sys

import msgspec

from crossfade.harness.gateways import Gateway

HONEST = "honest"


class Planted(msgspec.Struct, frozen=True, kw_only=True):
    """A relay, the scenario in which it has to be told apart, and what it is."""

    name: str
    scenario: str
    what: str


PLANTS = (
    Planted(name="twin", scenario="gateway-echo", what="the same relay under a second name"),
    Planted(name="slow", scenario="gateway-echo", what="5 % more processor time per call"),
    Planted(name="twin", scenario="gateway-latency", what="the same relay under a second name"),
    Planted(name="tail", scenario="gateway-latency", what="every 50th answer waits for ten milliseconds"),
)


def gateways(scenario: str | None = None) -> list[Gateway]:
    """The honest relay first, then those of a scenario (default: of all)."""
    names = [HONEST, *(p.name for p in PLANTS if scenario in (None, p.scenario))]
    module = f"{sys.executable} -m {__name__}"
    return [Gateway(name=n, command=f"{module} {n} {{port}} {{upstream}}") for n in dict.fromkeys(names)]
