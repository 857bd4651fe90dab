"""The generator, native and Python alike: what it counts, and that no server can flatter itself before it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from tests.harness.loadbench import Bench

from crossfade.harness.hdr import Histogram
from crossfade.harness.problems import BlockFailed

MS = 1_000_000


@pytest.mark.parametrize("era", ["modern", "legacy"])
@pytest.mark.parametrize("payload", [0, 3, 16, 100_000])
def test_closed_loop_counts_add_up(bench: Bench, era: str, payload: int) -> None:
    fleet, port = bench.fleet()
    result = bench.run(port, era=era, payload_bytes=payload)
    assert result["generator"] == bench.generator
    assert result["completed"] > 10
    assert result["errors"] == {}
    assert abs(result["sent"] - result["completed"]) <= 4
    assert Histogram.decode(result["latency"]).total_count == result["completed"]
    assert result["throughput_per_s"] == pytest.approx(result["completed"] / result["duration_s"])
    assert [point["t_ms"] for point in result["series"]] == [100, 200, 300, 400, 500]
    assert sum(point["completed"] for point in result["series"]) == result["completed"]
    assert result["generator_cpu_s"] > 0
    fleet.send({"op": "stats"})
    assert fleet.expect("stats", timeout_s=5)["calls"] >= result["completed"]


@pytest.mark.parametrize("framing", ["chunked", "sse"])
@pytest.mark.parametrize("era", ["modern", "legacy"])
def test_answers_are_understood_in_every_framing(bench: Bench, era: str, framing: str) -> None:
    _, port = bench.fleet(framing=framing)
    result = bench.run(port, era=era)
    assert result["completed"] > 10
    assert result["errors"] == {}


@pytest.mark.parametrize("arrivals", ["poisson", "constant"])
def test_open_loop_sends_what_was_drawn_and_no_more(bench: Bench, arrivals: str) -> None:
    _, port = bench.fleet()
    plan: dict[str, Any] = {"mode": "open", "rate_per_s": 400, "arrivals": arrivals, "seed": 5}
    first, second = bench.run(port, **plan), bench.run(port, **plan)
    assert first["sent"] == first["completed"] == second["sent"]
    assert first["sent"] == (200 if arrivals == "constant" else pytest.approx(200, abs=60))
    assert first["missed_sends"] == 0
    assert Histogram.decode(first["lag"]).total_count == first["sent"]
    assert bench.run(port, **{**plan, "seed": 6})["errors"] == {}


def test_a_stall_is_not_omitted_from_open_loop_latency(bench: Bench) -> None:
    """300 ms of silence at 500/s delay 150 requests; the two connections alone would have shown two."""
    fleet, port = bench.fleet()

    def stall() -> None:
        fleet.send({"op": "hang"})
        fleet.expect("hung", timeout_s=5)
        time.sleep(0.3)
        fleet.send({"op": "recover"})
        fleet.expect("recovered", timeout_s=5)

    plan: dict[str, Any] = {
        "mode": "open",
        "rate_per_s": 500,
        "arrivals": "constant",
        "connections": 2,
        "duration_s": 1.0,
    }
    result = bench.run(port, stall, **plan)
    latency, service = Histogram.decode(result["latency"]), Histogram.decode(result["service"])
    assert result["completed"] == 500
    assert latency.max_value >= 290 * MS
    # Waiting times fall evenly from 300 ms to none: a tenth of all requests waited more than 200 ms.
    assert latency.value_at_percentile(92) > 150 * MS
    assert latency.value_at_percentile(80) > 30 * MS
    assert service.value_at_percentile(98) < latency.value_at_percentile(92)


def test_requests_that_were_never_answered_or_sent_are_not_lost(bench: Bench) -> None:
    fleet, port = bench.fleet()

    def hang() -> None:
        fleet.send({"op": "hang"})
        fleet.expect("hung", timeout_s=5)

    plan: dict[str, Any] = {"mode": "open", "rate_per_s": 200, "arrivals": "constant", "connections": 2, "drain_s": 0.2}
    result = bench.run(port, hang, **plan)
    assert result["errors"]["timeout"] == 2
    assert result["missed_sends"] > 50
    assert result["completed"] + result["missed_sends"] + 2 == 100


def test_a_slow_request_times_out_and_its_connection_is_replaced(bench: Bench) -> None:
    fleet, port = bench.fleet()
    result = bench.run(port, tool="sleep", arguments={"ms": 5000}, timeout_s=0.1, connections=2)
    assert result["completed"] == 0
    assert result["errors"]["timeout"] >= 4
    fleet.send({"op": "stats"})
    assert fleet.expect("stats", timeout_s=5)["accepted"] > 4


def test_a_lying_server_is_convicted(bench: Bench) -> None:
    _, port = bench.fleet(lie_rate=0.2)
    result = bench.run(port)
    share = result["mismatches"] / (result["completed"] + result["mismatches"])
    assert result["errors"] == {"mismatch": result["mismatches"]}
    assert share == pytest.approx(0.2, abs=0.1)
    assert bench.run(port, check_every=0)["errors"] == {}


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("rpc", "rpc_-32603"),
        ("tool", "tool_error"),
        ("http", "http_503"),
        ("reset", "reset"),
        ("garbage", "garbage"),
    ],
)
def test_each_kind_of_error_has_its_name(bench: Bench, kind: str, expected: str) -> None:
    _, port = bench.fleet(error_rate=0.5, error_kind=kind)
    result = bench.run(port)
    assert set(result["errors"]) == {expected}
    assert result["completed"] > 0
    assert sum(point["errors"] for point in result["series"]) == result["errors"][expected]


@pytest.mark.parametrize("era", ["modern", "legacy"])
def test_a_crashed_server_is_counted_and_found_again(bench: Bench, era: str) -> None:
    fleet, port = bench.fleet()

    def crash() -> None:
        fleet.send({"op": "crash"})
        fleet.expect("crashed", timeout_s=5)
        time.sleep(0.1)
        fleet.send({"op": "recover"})
        fleet.expect("recovered", timeout_s=5)

    result = bench.run(port, crash, era=era, duration_s=0.8)
    assert result["errors"]["connect"] > 0
    assert set(result["errors"]) <= {"connect", "reset"}
    assert result["series"][-1]["completed"] > 0


@pytest.mark.parametrize("era", ["modern", "legacy"])
def test_a_ladder_holds_and_grows(bench: Bench, era: str) -> None:
    fleet, port = bench.fleet()
    load = bench.child("load")
    load.send({"generator": bench.generator, "port": port, "mode": "hold", "connections": 10, "era": era})
    assert load.expect("held", timeout_s=20) == {"event": "held", "n": 10, "lost": 0, "errors": 0}
    load.send({"op": "grow", "to": 200})
    assert load.expect("held", timeout_s=20)["n"] == 200
    fleet.send({"op": "stats"})
    stats = fleet.expect("stats", timeout_s=5)
    assert (stats["open"], stats["calls"]) == (200, 200)
    assert stats["sessions"] == (200 if era == "legacy" else 0)
    assert load.process.stdin is not None
    load.process.stdin.close()
    assert load.expect("result", timeout_s=10)["completed"] == 200


def test_an_unreachable_server_is_named(bench: Bench) -> None:
    fleet, port = bench.fleet()
    fleet.close()
    load = bench.child("load")
    load.send({"generator": bench.generator, "port": port, "mode": "hold", "connections": 1, "connect_timeout_s": 0.2})
    with pytest.raises(BlockFailed, match=str(port)):
        load.expect("held", timeout_s=20)
    assert load.process.wait(timeout=10) == 1


@pytest.mark.parametrize("plan", [{"bogus": 1}, {"mode": "open"}, {"duration_s": 0}, {"era": "stone"}])
def test_a_broken_plan_is_named_and_exits_64(bench: Bench, plan: dict[str, Any]) -> None:
    load = bench.child("load")
    base = {"generator": bench.generator, "port": 1, "mode": "closed", "connections": 1, "duration_s": 1}
    load.send({**base, **plan})
    with pytest.raises(BlockFailed, match="load plan"):
        load.expect("ready", timeout_s=20)
    assert load.process.wait(timeout=10) == 64


def test_the_native_histogram_survives_a_round_trip(bench: Bench) -> None:
    _, port = bench.fleet()
    blob = bench.run(port)["latency"]
    found = Histogram.decode(blob)
    again = Histogram.decode(found.encode())
    assert again.counts == found.counts
    assert found.value_at_percentile(50) <= found.value_at_percentile(99) <= found.max_value


def test_two_loads_at_once_do_not_mix(bench: Bench) -> None:
    _, port = bench.fleet()
    results: list[dict[str, Any]] = []
    threads = [threading.Thread(target=lambda seed=seed: results.append(bench.run(port, seed=seed))) for seed in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [result["errors"] for result in results] == [{}, {}]


@contextlib.contextmanager
def recording() -> Iterator[tuple[int, list[dict[str, Any]]]]:
    """The port of an honest echo, and the arguments of every call that it was sent."""
    asked: list[dict[str, Any]] = []

    class Echo(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            arguments = message["params"]["arguments"]
            asked.append(arguments)
            content = [{"type": "text", "text": arguments["text"]}]
            result = {"content": content, "isError": False, "resultType": "complete"}
            body = json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}).encode()
            head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
            self.wfile.write(head.encode() + body)

    with ThreadingHTTPServer(("127.0.0.1", 0), Echo) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port, asked
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("plan", [{}, {"mode": "open", "rate_per_s": 400}], ids=["closed", "open"])
def test_no_request_repeats_what_another_has_asked(bench: Bench, plan: dict[str, Any]) -> None:
    """Or a gateway that caches would be fast, and right."""
    with recording() as (port, asked):
        result = bench.run(port, duration_s=1.0, **plan)
    assert result["errors"] == {}
    assert len(asked) >= 100
    assert len({arguments["text"] for arguments in asked}) == len(asked)
    assert len({arguments["n"] for arguments in asked}) == len(asked)


def test_ctrl_c_ends_a_load_that_never_sleeps(bench: Bench) -> None:
    _, port = bench.fleet()
    child = bench.child("load")
    child.send({"generator": bench.generator, "port": port, "mode": "closed", "connections": 16, "duration_s": 20})
    child.expect("measuring", timeout_s=20)
    os.kill(child.pid, signal.SIGINT)
    assert child.process.wait(timeout=5) == 130
