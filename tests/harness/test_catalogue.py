"""Every built-in scenario runs for real, as small as it can be: a file that is valid is not yet a block that works."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from crossfade.harness.affinity import available, place
from crossfade.harness.cli.catalogue import GROUPS, page
from crossfade.harness.cli.choose import lay_out
from crossfade.harness.executor import LocalExecutor, Task
from crossfade.harness.plan import estimate_s
from crossfade.harness.samples import Block, Slot
from crossfade.impls import missing, variant_names
from crossfade.scenarios import LIMITS, Profile, Rounds, Scenario, builtin, select
from crossfade.scenarios.loader import ORDER
from crossfade.scenarios.model import SECTIONS

NATIVE = missing("rust") is None
NEW_KINDS = {"latency", "burst", "connect", "lifecycle", "deploy"}
SMALL: dict[str, dict[str, Any]] = {
    "faults": {"crash_at_s": 0.1, "recover_at_s": 0.3, "jitter_s": 0.0},
    "deploy": {"update_at_s": 0.05},
    "ladder": {"rungs": (0, 20, 60), "settle_s": 0.05, "hold_ms": 500},
    "lifecycle": {"starts": 1},
    "nodes": {"counts": (1, 2)},
    "sweep": {"from_per_s": 400.0, "to_per_s": 400.0, "refine": 0, "objective_p99_ms": 5000.0},
}
DURATION_S = {"faults": 2.0, "deploy": 1.5, "sweep": 1.3, "connect": 2.0, "burst": 1.0}


def small(scenario: Scenario) -> Scenario:
    """The same work for a moment."""
    rounds = Rounds(rounds=2, duration_s=DURATION_S.get(scenario.kind, 0.4), warmup_s=0.05)
    changes: dict[str, Any] = {"profiles": msgspec.structs.replace(scenario.profiles, quick=rounds)}
    for table, keys in SMALL.items():
        if (now := getattr(scenario, table)) is not None:
            changes[table] = msgspec.structs.replace(now, **keys)
    if (load := scenario.load) is not None:
        less: dict[str, Any] = {"connections": min(load.connections, 64), "burst": min(load.burst, 300)}
        # A busy machine under test is no finding: percentiles are not asked for here.
        if load.rate_per_s is not None:
            less["rate_per_s"] = 200.0
        changes["load"] = msgspec.structs.replace(load, **less)
    if (nodes := scenario.nodes) is not None and nodes.rates_per_s:
        changes["nodes"] = msgspec.structs.replace(nodes, counts=(1, 2), rates_per_s=(200.0,))
    if scenario.kind == "memory_stdio" and scenario.ladder is not None:
        # Each rung is that many interpreters.
        changes["ladder"] = msgspec.structs.replace(scenario.ladder, rungs=(1, 3, 6), settle_s=0.05, hold_ms=500)
    if scenario.name == "deploy-canary":
        changes["manager"] = {"deploy": {"minSamples": 3}}
    return msgspec.structs.replace(scenario, **changes)


def block(scenario: Scenario, variant: str) -> Block:
    executor = LocalExecutor(placement=place(available()), generator="rust" if NATIVE else "python")
    slot = Slot(scenario=scenario.name, round=0, position=0, variant=variant)
    return executor.block(Task(scenario=small(scenario), profile="quick", slot=slot, seed=5, hash_seed=6))


ALL = [(name, "python") for name in builtin()]
ALL += [(name, "rust") for name, scenario in builtin().items() if scenario.kind in NEW_KINDS and NATIVE]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "variant"), ALL, ids=[f"{name}-{variant}" for name, variant in ALL])
def test_every_scenario_runs_and_answers_rightly(name: str, variant: str) -> None:
    scenario = builtin()[name]
    found = block(scenario, variant)
    # What was measured can be read again.
    assert msgspec.json.decode(msgspec.json.encode(found), type=Block) == found
    assert found.status != "failed", found.error
    assert "did not match" not in (found.error or "")
    assert "no request was answered" not in (found.error or "")
    if found.status == "ok":
        # Percentiles need more samples than a moment has.
        few = {"p50_us", "p99_us", "p999_us"}
        assert set(scenario.headline) - few <= found.metrics.keys()
    if scenario.kind != "faults":
        assert not found.errors, f"{found.errors}: {found.error}"


def test_the_page_is_what_the_files_say() -> None:
    written = (Path(__file__).parents[2] / "docs" / "catalogue.md").read_text()
    assert written == page(list(builtin().values())) + "\n", "it is stale; run `make catalogue`"


def test_every_kind_has_its_place_in_the_catalogue_and_every_scenario_in_the_order_of_reports() -> None:
    grouped = [kind for _, _, kinds in GROUPS for kind in kinds]
    assert sorted(grouped) == sorted(SECTIONS)
    assert sorted(ORDER) == sorted(builtin())


MINUTES: list[tuple[Profile, float, float]] = [("quick", 3.0, 6.5), ("standard", 25.0, 47.0)]


@pytest.mark.parametrize(("profile", "least", "most"), MINUTES)
def test_a_whole_run_takes_as_long_as_its_profile_promises(profile: Profile, least: float, most: float) -> None:
    """By the plan's estimate, with every variant and limit."""
    scenarios = select([], profile)
    records = [lay_out(s, profile, variant_names(), LIMITS, rounds=None, asked=False) for s in scenarios]
    assert least <= estimate_s(scenarios, records, profile) / 60 <= most
