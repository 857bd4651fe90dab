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


QUICK = [
    "gateway-echo",
    "gateway-echo-64k",
    "gateway-stdio",
    "rate-sweep",
    "calls-echo",
    "policy-ops",
    "memory-clients",
    "memory-upstreams",
    "faults-crash",
]
"""What README's figures and the goals of reports stand on."""


def test_the_quick_suite_is_there_in_the_order_of_reports() -> None:
    assert [s.name for s in select([], "quick")] == QUICK
    assert {s.name for s in select([], "standard")} >= set(QUICK)


@pytest.mark.parametrize("name", list(builtin()))
def test_a_builtin_scenario_names_real_metrics_capabilities_and_keys(name: str) -> None:
    scenario = builtin()[name]
    assert set(scenario.headline) | set(scenario.shown) <= METRICS.keys()
    assert any(set(scenario.needs) <= v.capabilities for v in VARIANTS.values())
    parse_config({"mcpServers": {"up": {"url": "http://127.0.0.1:1/mcp", **scenario.manager}}})
    # A limit is either measured or its absence is explained.
    assert set(scenario.limits) | set(scenario.left_out) >= {"nginx", "ceiling"}


@pytest.mark.parametrize("name", list(builtin()))
def test_a_verdict_on_latency_comes_from_an_open_loop(name: str) -> None:
    """A closed loop leaves out the very requests that would have suffered: what it shows of latency is never judged."""
    scenario = builtin()[name]
    if {"p50_us", "p99_us", "p999_us"} & set(scenario.headline):
        assert scenario.load is not None
        assert scenario.load.mode == "open"


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


IMPOSSIBLE = {
    "a burst without a burst": ("burst", 'mode = "open"', "", "load.burst"),
    "a burst in another kind": ("throughput", "burst = 9", "", "load.burst"),
    "a burst with a rate": ("burst", 'mode = "open"\nburst = 9\nrate_per_s = 1', "", "means nothing in a burst"),
    "latency in a closed loop": ("latency", 'mode = "closed"', "", "the open loop"),
    "modern sessions": ("throughput", "session_calls = 5", "", "load: session_calls"),
    "half a cancellation": ("throughput", "cancel_per_mille = 5", "", "load: cancel_per_mille"),
    "a mix of nothing": ("throughput", "mix = {}", "", r"load\.mix: every weight"),
    "nobody left to measure": ("throughput", "", "[upstream]\nslow_servers = 1\nslow_ms = 5", "upstream: slow_servers"),
    "slow by nothing": ("throughput", "", "[upstream]\nservers = 3\nslow_servers = 1", "belong together"),
    "busy clients that are none": (
        "memory_sessions",
        'era = "legacy"',
        "[ladder]\nrungs = [0, 1, 2]\nin_flight = true",
        "in_flight",
    ),
    "sessions of the modern era": ("memory_sessions", "", "[ladder]\nrungs = [0, 1, 2]", "load.era"),
    "children over HTTP": ("memory_stdio", None, "[ladder]\nrungs = [0, 1, 2]", "upstream.transport"),
    "ten thousand interpreters": (
        "memory_stdio",
        None,
        '[upstream]\ntransport = "stdio"\n[ladder]\nrungs = [1, 2, 10000]',
        r"ladder\.rungs",
    ),
    "payloads beyond all memory": (
        "throughput",
        "connections = 10000\npayload_bytes = 16777216",
        "",
        r"load\.payload_bytes",
    ),
    "a ladder of payloads beyond all memory": (
        "memory_clients",
        "payload_bytes = 16777216",
        "[ladder]\nrungs = [0, 10, 10000]",
        r"load\.payload_bytes",
    ),
    "a soak of nothing": ("soak", "", "[soak]\nchurn_per_s = 0", r"soak\.churn_per_s"),
    "replicas of a child": ("throughput", "", '[upstream]\ntransport = "stdio"\nreplicas = 2', 'for transport "http"'),
    "a child killed over HTTP": ("lifecycle", None, "[lifecycle]\nkill_child = true", "lifecycle.kill_child"),
    "an update after the end": (
        "deploy",
        'mode = "open"\nrate_per_s = 9',
        '[deploy]\nstrategy = "rolling"\nupdate_at_s = 9',
        "deploy.update_at_s",
    ),
    "an unknown strategy": (
        "deploy",
        'mode = "open"\nrate_per_s = 9',
        '[deploy]\nstrategy = "slow"',
        "deploy.strategy",
    ),
    "flaps of a crash": (
        "faults",
        'mode = "open"\nrate_per_s = 9',
        "[faults]\ncrash_at_s = 0.5\nrecover_at_s = 1\nflaps = 2",
        "faults: flaps",
    ),
}


@pytest.mark.parametrize(("kind", "load", "tables", "says"), IMPOSSIBLE.values(), ids=IMPOSSIBLE.keys())
def test_what_cannot_be_measured_is_refused(kind: str, load: str | None, tables: str, says: str) -> None:
    text = GOOD.replace('kind = "throughput"', f'kind = "{kind}"')
    text = text.replace("[load]\nconnections = 4\n", "" if load is None else f"[load]\n{load}\n")
    with pytest.raises(ScenarioError, match=says):
        parse(f"{text}\n{tables}\n", source="x")


def test_what_is_just_possible_is_read() -> None:
    load = "[load]\nconnections = 64\npayload_bytes = 16777216\n"
    assert parse(GOOD.replace("[load]\nconnections = 4\n", load), source="x").load is not None
    children = '[upstream]\ntransport = "stdio"\n[ladder]\nrungs = [0, 1, 256]\n'
    text = GOOD.replace("throughput", "memory_stdio", 1).replace("[load]\nconnections = 4\n", children)
    assert parse(text, source="x").ladder is not None


def test_a_key_that_came_later_changes_no_stored_hash() -> None:
    # Taken before the keys `suites`, `upstream.servers`, `load.chain` and their like were there.
    assert parse(GOOD, source="x").sha256("quick") == "6c5a5520413a4fe2ff25dc562218e296df95b49a8ade59d70ecfaa68a540f019"
    changed_ = GOOD + "[upstream]\nservers = 2\n"
    assert parse(changed_, source="x").sha256("quick") != parse(GOOD, source="x").sha256("quick")


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
        *(s.name for s in builtin().values() if "memory" in s.tags),
        "mine",
    ]
    assert [s.name for s in select([])] == list(builtin())
    # By name it runs in every profile.
    assert [s.name for s in select(["policy-ops"], "full")] == ["policy-ops"]


def test_what_matches_nothing_lists_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match=r"gateway-echo.*tags: "):
        select(["gateway-ekko"])
    with pytest.raises(ScenarioError, match="cannot be read"):
        load_file(tmp_path / "none.toml")
