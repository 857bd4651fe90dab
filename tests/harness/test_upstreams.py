"""Who is told of which port of the fleet: no replica is another server's, and nothing slow is measured."""

from __future__ import annotations

from crossfade.harness.measure import bench, upstreams
from crossfade.impls import parse_config
from crossfade.scenarios import Deploy, Load, Profiles, Rounds, Scenario, Upstream

ROUNDS = Rounds(rounds=2)
PORTS = tuple(range(9001, 9013))


def scenario(upstream: Upstream, deploy: Deploy | None = None) -> Scenario:
    return Scenario(
        name="x",
        title="x",
        summary="x",
        kind="deploy" if deploy else "throughput",
        profiles=Profiles(quick=ROUNDS, standard=ROUNDS, full=ROUNDS),
        headline=("p99_us",),
        upstream=upstream,
        load=Load(mode="open", rate_per_s=9) if deploy else Load(),
        deploy=deploy,
    )


def test_one_server_is_told_as_it_always_was() -> None:
    assert upstreams.entries(Upstream(), PORTS) == {"up": {"url": "http://127.0.0.1:9001/mcp", "era": "modern"}}
    assert bench.fleet_config(scenario(Upstream()), "rust", 7) == {
        "era": "modern",
        "latency": None,
        "error_rate": 0.0,
        "error_kind": "tool",
        "seed": 7,
        "generator": "rust",
    }


def test_no_port_serves_two_and_all_are_used() -> None:
    upstream = Upstream(servers=4, replicas=3)
    told = upstreams.entries(upstream, PORTS)
    urls = [url for entry in told.values() for url in entry["urls"]]
    assert list(told) == ["up", "up1", "up2", "up3"]
    assert urls == [upstreams.url(port) for port in PORTS]
    assert bench.fleet_config(scenario(upstream), "rust", 7)["ports"] == 12
    assert upstreams.tools(upstream) == ("up__echo", "up1__echo", "up2__echo", "up3__echo")
    parse_config({"mcpServers": told})


def test_the_next_revision_has_ports_of_its_own() -> None:
    upstream = Upstream(replicas=2)
    updated = scenario(upstream, Deploy(strategy="rolling"))
    assert bench.fleet_config(updated, "rust", 7)["ports"] == 4
    old, new = (upstreams.entries(upstream, PORTS[:4], revision=r)["up"]["urls"] for r in (0, 1))
    assert [*old, *new] == [upstreams.url(port) for port in PORTS[:4]]


def test_slow_servers_are_the_last_and_are_loaded_apart() -> None:
    upstream = Upstream(servers=3, slow_servers=1, slow_ms=50, replicas=2, events=4)
    told = bench.fleet_config(scenario(upstream), "rust", 7)
    assert (told["ports"], told["slow_ports"], told["slow_ms"]) == (6, 2, 50)
    assert upstreams.tools(upstream) == ("up__progress", "up1__progress")
    assert upstreams.tools(upstream, slow=True) == ("up2__progress",)
