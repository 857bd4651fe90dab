"""Scenarios: what is measured, as data. Depends on nothing else in crossfade."""

from crossfade.scenarios.loader import builtin, changed, load_file, parse, select
from crossfade.scenarios.model import LIMITS, PROFILES, Kind, Profile, Scenario, ScenarioError
from crossfade.scenarios.tables import (
    Connect,
    Deploy,
    Faults,
    Ladder,
    Lifecycle,
    Load,
    Mix,
    Nodes,
    Profiles,
    Rounds,
    Soak,
    Sweep,
    Upstream,
)

__all__ = [
    "LIMITS",
    "PROFILES",
    "Connect",
    "Deploy",
    "Faults",
    "Kind",
    "Ladder",
    "Lifecycle",
    "Load",
    "Mix",
    "Nodes",
    "Profile",
    "Profiles",
    "Rounds",
    "Scenario",
    "ScenarioError",
    "Soak",
    "Sweep",
    "Upstream",
    "builtin",
    "changed",
    "load_file",
    "parse",
    "select",
]
