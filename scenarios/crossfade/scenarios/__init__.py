"""Scenarios: what is measured, as data. Depends on nothing else in crossfade."""

from crossfade.scenarios.loader import builtin, changed, load_file, parse, select
from crossfade.scenarios.model import (
    LIMITS,
    PROFILES,
    Faults,
    Kind,
    Ladder,
    Load,
    Profile,
    Rounds,
    Scenario,
    ScenarioError,
    Sweep,
    Upstream,
)

__all__ = [
    "LIMITS",
    "PROFILES",
    "Faults",
    "Kind",
    "Ladder",
    "Load",
    "Profile",
    "Rounds",
    "Scenario",
    "ScenarioError",
    "Sweep",
    "Upstream",
    "builtin",
    "changed",
    "load_file",
    "parse",
    "select",
]
