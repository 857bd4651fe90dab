"""Scenarios: what is measured, as data. Depends on nothing else in crossfade."""

from crossfade.scenarios.loader import builtin, load_file, parse, select
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
    "load_file",
    "parse",
    "select",
]
