"""Scenarios: bad input names file and key, and a hash changes exactly when what is measured changes."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from crossfade.harness.samples import METRICS
from crossfade.impls import VARIANTS, parse_config
from crossfade.scenarios import PROFILES, ScenarioError, builtin, load_file, parse, select

GOOD = """
name = "mine"
title = "Mine"
summary = "What it does."
kind = "throughput"
headline = ["throughput_per_s"]
[load]
connections = 4
[profiles]
quick = { rounds = 3 }
standard = { rounds = 5 }
full = { rounds = 9 }
"""


def test_all_nine_are_there_in_the_order_of_reports() -> None:
    assert list(builtin()) == [
        "gateway-echo",
        "gateway-echo-64k",
        "gateway-stdio",
        "calls-echo",
        "rate-sweep",
        "memory-clients",
        "memory-upstreams",
        "policy-ops",
        "faults-crash",
    ]


@pytest.mark.parametrize("name", list(builtin()))
def test_a_builtin_scenario_names_real_metrics_capabilities_and_keys(name: str) -> None:
    scenario = builtin()[name]
    assert set(scenario.headline) | set(scenario.shown) <= METRICS.keys()
    assert any(set(scenario.needs) <= v.capabilities for v in VARIANTS.values())
    parse_config({"mcpServers": {"up": {"url": "http://127.0.0.1:1/mcp", **scenario.manager}}})
    # A limit is either measured or its absence is explained.
    assert set(scenario.limits) | set(scenario.left_out) >= {"nginx", "ceiling"}


BROKEN = {
    "not TOML": ("name =", "not valid TOML"),
    "unknown key": (GOOD.replace("[load]", "colour = 1\n[load]"), "colour"),
    "unknown key in a table": (GOOD.replace("connections", "conections"), r"load: .*conections"),
    "wrong type": (GOOD.replace("connections = 4", 'connections = "4"'), r"load\.connections: "),
    "out of range": (GOOD.replace("connections = 4", "connections = 0"), r"load\.connections: "),
    "one round": (GOOD.replace("rounds = 3", "rounds = 1"), r"profiles\.quick\.rounds: "),
    "missing profile": (GOOD.replace("full = { rounds = 9 }", ""), "profiles: .*full"),
    "unknown kind": (GOOD.replace('"throughput"\n', '"speed"\n'), "kind: "),
    "bad name": (GOOD.replace('"mine"', '"Mine!"'), "name: "),
    "missing table": (GOOD.replace('kind = "throughput"', 'kind = "sweep"'), r"needs a \[sweep\] table"),
    "useless table": (GOOD + "[faults]\ncrash_at_s = 1\nrecover_at_s = 2\n", r"no use for the \[faults\]"),
    "rate in a closed loop": (GOOD.replace("connections = 4", "rate_per_s = 10"), "means nothing in a closed loop"),
    "open loop without a rate": (GOOD.replace("connections = 4", 'mode = "open"'), "needs load.rate_per_s"),
}


@pytest.mark.parametrize(("text", "says"), BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_scenario_names_file_and_key_and_the_next_action(text: str, says: str) -> None:
    with pytest.raises(ScenarioError, match=rf"(?s)mine\.toml: .*{says}") as caught:
        parse(text, source="mine.toml")
    assert str(caught.value).rstrip(")").endswith(("fix the file", "change it (docs/scenarios.md"))


def test_rungs_that_fall_and_faults_after_the_end_are_refused() -> None:
    ladder = GOOD.replace("throughput", "memory_clients", 1).replace("[load]", "[ladder]\nrungs = [0, 9, 3]\n[load]")
    with pytest.raises(ScenarioError, match="must rise"):
        parse(ladder, source="x")
    late = GOOD.replace('"throughput"', '"faults"', 1) + "[faults]\ncrash_at_s = 1\nrecover_at_s = 99\n"
    with pytest.raises(ScenarioError, match="must hold"):
        parse(late, source="x")


def test_the_hash_ignores_wording_and_rounds_and_nothing_else() -> None:
    one = parse(GOOD, source="x")
    for same in (GOOD.replace("Mine", "Other"), GOOD.replace("rounds = 3", "rounds = 7")):
        assert parse(same, source="x").sha256("quick") == one.sha256("quick")
    seen = {one.sha256("quick")}
    for other in (
        GOOD.replace("connections = 4", "connections = 5"),
        GOOD.replace("rounds = 3", "rounds = 3, duration_s = 9"),
        GOOD + "[manager]\ntimeoutMs = 5\n",
        GOOD + '[upstream]\nera = "legacy"\n',
    ):
        seen.add(parse(other, source="x").sha256("quick"))
    assert len(seen) == 5


@pytest.mark.parametrize("profile", PROFILES)
def test_the_canonical_form_is_plain_data_with_every_default(profile: str) -> None:
    body = parse(GOOD, source="x").canonical(profile)  # type: ignore[arg-type]
    assert msgspec.json.decode(msgspec.json.encode(body)) == body
    assert body["load"]["check_every"] == 16
    assert body["profile"]["name"] == profile
    assert "profiles" not in body


def test_selection_by_name_tag_and_file(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text(GOOD)
    assert [s.name for s in select(["memory", str(path), "memory-clients"])] == [
        "memory-clients",
        "memory-upstreams",
        "mine",
    ]
    assert len(select([])) == 9


def test_what_matches_nothing_lists_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match=r"gateway-echo.*tags: "):
        select(["gateway-ekko"])
    with pytest.raises(ScenarioError, match="cannot be read"):
        load_file(tmp_path / "none.toml")
