"""The shapes a load can have, native and Python alike: many targets and tools, mixes, chains, bursts, storms, churn."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest
from tests.harness.loadbench import Bench

from crossfade.harness.hdr import Histogram

MS = 1_000_000
ERAS = pytest.mark.parametrize("era", ["modern", "legacy"])


def _least(result: dict[str, Any]) -> float:
    return Histogram.decode(result["latency"]).value_at_percentile(0.001)


@pytest.mark.skipif(not hasattr(os, "SCHED_BATCH"), reason="scheduling policies are Linux's")
def test_a_closed_loop_stands_back_and_an_open_one_keeps_its_times(bench: Bench) -> None:
    _, port = bench.fleet()
    seen: list[int] = []

    def look() -> None:
        seen.append(os.sched_getscheduler(bench.children[-1].pid))

    assert bench.run(port, during=look)["errors"] == {}
    assert bench.run(port, during=look, mode="open", rate_per_s=100)["errors"] == {}
    assert seen == [os.SCHED_BATCH, os.SCHED_OTHER]


@ERAS
@pytest.mark.parametrize("mode", ["closed", "hold"])
def test_connections_are_spread_over_the_targets(bench: Bench, era: str, mode: str) -> None:
    fleets = [bench.fleet() for _ in range(2)]
    targets = [{"port": port} for _, port in fleets]
    if mode == "hold":
        load = bench.child("load")
        load.send({"generator": bench.generator, "mode": mode, "connections": 6, "targets": targets, "era": era})
        assert load.expect("held", timeout_s=20)["errors"] == 0
    else:
        result = bench.run(None, targets=targets, connections=6, era=era)
        assert (result["errors"], result["completed"] > 0) == ({}, True)
    assert [bench.stats(fleet)["accepted"] for fleet, _ in fleets] == [3, 3]
    assert all(bench.stats(fleet)["calls"] > 0 for fleet, _ in fleets)


@ERAS
def test_the_methods_of_a_mix_come_by_weight_and_are_checked(bench: Bench, era: str) -> None:
    _, port = bench.fleet()
    result = bench.run(port, era=era, tools=["echo", "progress"], mix={"list": 20, "call": 70, "read": 10})
    assert result["errors"] == {}
    assert sum(result["by_method"].values()) == result["completed"]
    assert result["by_method"]["call"] > result["by_method"]["list"] > result["by_method"]["read"] > 0


def test_a_read_of_what_is_not_there_is_an_error(bench: Bench) -> None:
    _, port = bench.fleet()
    assert set(bench.run(port, mix={"read": 1}, uri="nowhere://{text}")["errors"]) == {"rpc_-32602"}


@ERAS
@pytest.mark.parametrize("framing", ["length", "sse"])
def test_progress_is_counted(bench: Bench, era: str, framing: str) -> None:
    _, port = bench.fleet(framing=framing)
    result = bench.run(port, era=era, tool="progress", events=3)
    assert result["errors"] == {}
    assert result["events"] == 3 * result["completed"] > 0
    assert result["events_per_s"] == pytest.approx(result["events"] / result["duration_s"])


@pytest.mark.parametrize("mode", [{"mode": "closed"}, {"mode": "open", "rate_per_s": 100, "arrivals": "constant"}])
def test_a_chain_is_one_unit(bench: Bench, mode: dict[str, Any]) -> None:
    fleet, port = bench.fleet(latency={"distribution": "constant", "ms": 5})
    result = bench.run(port, chain=4, warmup_s=0.0, **mode)
    assert result["errors"] == {}
    assert _least(result) > 16 * MS
    calls = bench.stats(fleet)["calls"]
    assert 4 * result["completed"] <= calls <= 4 * (result["completed"] + 8)


def test_a_chain_breaks_at_its_first_failure_and_counts_once(bench: Bench) -> None:
    _, port = bench.fleet(error_rate=1.0, error_kind="tool")
    result = bench.run(port, chain=5)
    assert result["completed"] == 0
    assert result["errors"]["tool_error"] == pytest.approx(result["sent"], abs=4)


@ERAS
def test_a_burst_is_due_at_once(bench: Bench, era: str) -> None:
    fleet, port = bench.fleet(latency={"distribution": "constant", "ms": 10})
    result = bench.run(port, mode="open", burst=40, connections=4, era=era, duration_s=5.0)
    assert (result["sent"], result["completed"], result["errors"]) == (40, 40, {})
    latency = Histogram.decode(result["latency"])
    # Ten after the other on each connection: the last waited for nine.
    assert _least(result) >= 9 * MS
    assert latency.max_value >= 100 * MS
    assert result["drain_ms"] * MS == pytest.approx(latency.max_value, rel=0.02)
    assert result["duration_s"] < 5.0
    assert bench.stats(fleet)["calls"] > 40


def test_a_burst_that_is_not_answered_has_no_drain_time(bench: Bench) -> None:
    fleet, port = bench.fleet()

    def hang() -> None:
        fleet.send({"op": "hang"})
        fleet.expect("hung", timeout_s=5)

    slow: dict[str, Any] = {"tool": "sleep", "arguments": {"ms": 5000}}
    result = bench.run(port, hang, mode="open", burst=10, connections=2, warmup_s=0.0, drain_s=0.1, **slow)
    assert result["drain_ms"] is None
    assert (result["completed"], result["missed_sends"], result["errors"]) == (0, 8, {"timeout": 2})


@ERAS
def test_a_storm_counts_every_connection_once(bench: Bench, era: str) -> None:
    fleet, port = bench.fleet()
    result = bench.run(port, mode="connect", connections=100, parallel=8, era=era, warmup_s=0.05, duration_s=20)
    assert (result["sent"], result["completed"], result["errors"], result["missed_sends"]) == (100, 100, {}, 0)
    assert result["connects_per_s"] == pytest.approx(100 / result["duration_s"], rel=0.05)
    assert Histogram.decode(result["latency"]).total_count == 100
    stats = bench.stats(fleet)
    assert stats["accepted"] >= 100
    assert stats["calls"] >= 100


def test_a_storm_at_a_closed_door_is_all_errors(bench: Bench) -> None:
    fleet, port = bench.fleet()
    fleet.send({"op": "crash"})
    fleet.expect("crashed", timeout_s=5)
    result = bench.run(port, mode="connect", connections=20, parallel=4, warmup_s=0.0, duration_s=5)
    assert (result["completed"], result["errors"]) == (0, {"connect": 20})


@ERAS
def test_what_is_cancelled_is_no_error_and_no_sample(bench: Bench, era: str) -> None:
    fleet, port = bench.fleet()
    slow: dict[str, Any] = {"tool": "sleep", "arguments": {"ms": 20}}
    result = bench.run(port, era=era, cancel_per_mille=400, cancel_after_ms=4, **slow)
    assert result["errors"] == {}
    assert result["cancelled"] > 5
    assert result["completed"] > 5
    assert _least(result) > 15 * MS
    # A connection for each that was given up; its session goes on.
    stats = bench.stats(fleet)
    assert stats["accepted"] >= result["cancelled"]
    if era == "legacy":
        assert stats["sessions"] == 4


def test_answers_that_come_first_are_not_cancelled(bench: Bench) -> None:
    _, port = bench.fleet()
    result = bench.run(port, cancel_per_mille=1000, cancel_after_ms=5000)
    assert (result["cancelled"], result["errors"], result["completed"] > 0) == (0, {}, True)


def test_sessions_end_after_their_calls(bench: Bench) -> None:
    fleet, port = bench.fleet()
    result = bench.run(port, era="legacy", session_calls=5)
    assert result["errors"] == {}
    assert result["sessions"] == pytest.approx(result["completed"] / 5, abs=5)
    assert Histogram.decode(result["session_latency"]).total_count == result["sessions"]
    stats = bench.stats(fleet)
    # The run may have ended between the end of a session and the next one.
    assert (stats["accepted"], stats["sessions"] <= 4) == (4, True)


@pytest.mark.parametrize(
    ("plan", "culprit"),
    [
        ({"targets": [{"port": 2}]}, "targets"),
        ({"port": None}, "port"),
        ({"tool": "a", "tools": ["b"]}, "tools"),
        ({"burst": 5}, "burst"),
        ({"mode": "open", "burst": 5, "rate_per_s": 5}, "rate_per_s"),
        ({"mix": {"sing": 1}}, "sing"),
        ({"uri": "echo:///"}, "uri"),
        ({"session_calls": 3}, "session_calls"),
        ({"chain": 2, "cancel_per_mille": 5}, "cancel_per_mille"),
        ({"mode": "connect", "events": 5}, "events"),
    ],
    ids=json.dumps,
)
def test_what_makes_no_sense_is_refused_by_name(bench: Bench, plan: dict[str, Any], culprit: str) -> None:
    assert culprit in bench.refused(**plan)
