"""Finding and reading scenarios: the built-in ones by name or tag, others by path.

The rule: a selection that matches nothing is an error that lists what there is, never an empty run.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterable, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import msgspec

from crossfade.scenarios.model import Profile, Scenario, ScenarioError

ORDER = (
    # What the first page of a report stands on.
    "gateway-echo",
    "gateway-echo-1k",
    "gateway-echo-64k",
    "gateway-echo-1m",
    "gateway-stdio",
    "gateway-latency",
    "rate-sweep",
    # The same work, more or fewer at once, and in every pairing of eras.
    "gateway-echo-c1",
    "gateway-echo-c64",
    "gateway-echo-c256",
    "era-legacy",
    "era-modern-to-legacy",
    "era-legacy-to-modern",
    # Other work.
    "mixed",
    "aggregate-lists",
    "aggregate-calls",
    "replicas",
    "chain",
    "progress-streams",
    "session-churn",
    "cancel-storm",
    "burst",
    "connect-storm",
    "slow-neighbour",
    # In process.
    "calls-echo",
    "policy-ops",
    # Memory.
    "memory-clients",
    "memory-clients-busy",
    "memory-upstreams",
    "memory-stdio",
    "memory-sessions",
    "soak",
    # Beginning, end, and what goes wrong.
    "start-http",
    "start-many",
    "start-stdio",
    "faults-crash",
    "faults-hang",
    "faults-flap",
    "faults-garbage",
    "faults-reset",
    "faults-drip",
    "faults-breaker",
    "stderr-flood",
    "deploy-recreate",
    "deploy-rolling",
    "deploy-blue-green",
    "deploy-canary",
    "deploy-shadow",
    "nodes",
    "nodes-rates",
    "nodes-pool",
)
"""The order of reports; scenarios that are not in it follow by name."""


def parse(text: str, *, source: str) -> Scenario:
    """A scenario from TOML. Raises :class:`ScenarioError` naming ``source`` and key."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ScenarioError(f"{source}: not valid TOML ({error}); fix the file") from None
    return _converted(data, source=source)


def changed(scenario: Scenario, changes: Sequence[str]) -> Scenario:
    """The scenario with keys set (``load.era=legacy``); a table it does not have is passed over.

    Raises :class:`ScenarioError` for what is no key, or no value for it.
    """
    if not changes:
        return scenario
    body: dict[str, Any] = msgspec.to_builtins(scenario)
    for change in changes:
        path, equals, text = change.partition("=")
        *tables, key = path.split(".")
        if not equals or not all((*tables, key)):
            raise ScenarioError(f"--set {change!r} must be KEY=VALUE; write for example load.era=legacy")
        at: Any = body
        for table in tables:
            at = at.get(table) if isinstance(at, dict) else None
        if isinstance(at, dict):
            at[key] = _value(text)
        elif tables[0] not in body:
            raise ScenarioError(f"--set {change!r}: there is no table {tables[0]!r}; see docs/scenarios.md")
    return _converted(body, source=f"scenario {scenario.name!r} with {' '.join(changes)}")


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text  # a word without quotes


def _not_finite(data: Any, path: str = "") -> str | None:
    """The first key whose number is infinite or none at all, which every bound would let through or misname."""
    if isinstance(data, float) and not math.isfinite(data):
        return path
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    found = (_not_finite(value, f"{path}.{key}" if path else str(key)) for key, value in items)
    return next((key for key in found if key is not None), None)


def _converted(data: Any, *, source: str) -> Scenario:
    if (key := _not_finite(data)) is not None:
        raise ScenarioError(f"{source}: {key}: is no finite number; change it (docs/scenarios.md)")
    try:
        return msgspec.convert(data, Scenario)
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at `$")
        key = where.rstrip("`").lstrip(".")
        raise ScenarioError(f"{source}: {key + ': ' if key else ''}{what}; change it (docs/scenarios.md)") from None


def load_file(path: Path) -> Scenario:
    """A scenario from a file. Raises :class:`ScenarioError`."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ScenarioError(f"{path}: cannot be read ({error}); check the path") from None
    return parse(text, source=str(path))


def builtin() -> dict[str, Scenario]:
    """Every scenario that ships with crossfade, by name, in the order of reports."""
    found: dict[str, Scenario] = {}
    for entry in (resources.files("crossfade.scenarios") / "data").iterdir():
        if entry.name.endswith(".toml"):
            scenario = parse(entry.read_text(encoding="utf-8"), source=entry.name)
            if f"{scenario.name}.toml" != entry.name:
                raise ScenarioError(f"{entry.name}: name: is {scenario.name!r}; name the file {scenario.name}.toml")
            found[scenario.name] = scenario
    rank = {name: index for index, name in enumerate(ORDER)}
    return dict(sorted(found.items(), key=lambda item: (rank.get(item[0], len(ORDER)), item[0])))


def select(selectors: Iterable[str], profile: Profile | None = None) -> list[Scenario]:
    """Scenarios by name, tag or path to a .toml file; nothing selected means the suite of ``profile``, or without one
    all built-in ones.

    Raises :class:`ScenarioError` for a selector that matches nothing.
    """
    known = builtin()
    chosen: dict[str, Scenario] = {}
    wanted = list(selectors)
    for selector in wanted:
        if selector.endswith(".toml"):
            scenario = load_file(Path(selector))
            matches = [scenario]
        elif selector in known:
            matches = [known[selector]]
        else:
            matches = [s for s in known.values() if selector in s.tags]
        if not matches:
            tags = sorted({t for s in known.values() for t in s.tags})
            raise ScenarioError(
                f"no scenario or tag is called {selector!r}; scenarios: {', '.join(known)}; tags: {', '.join(tags)}"
            )
        for scenario in matches:
            if chosen.setdefault(scenario.name, scenario) != scenario or known.get(scenario.name, scenario) != scenario:
                raise ScenarioError(
                    f"{selector}: name: {scenario.name!r} is another scenario's; give it one of its own"
                )
    if wanted:
        return list(chosen.values())
    return [s for s in known.values() if profile is None or profile in s.suites]
