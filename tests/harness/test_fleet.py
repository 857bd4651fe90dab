"""The fleet, native and Python alike: one suite, the same answers, over HTTP and stdio."""

from __future__ import annotations

import http.client
import json
import statistics
import sys
import time
from typing import Any

import pytest
from scipy import stats as oracle  # type: ignore[import-untyped]
from tests.harness.fleetclient import META, MODERN, Client, fleet

from crossfade.harness.problems import BlockFailed
from crossfade.harness.processes import Child


def test_modern_calls_echo_any_text_in_any_framing(generator: str) -> None:
    for framing in ("length", "chunked", "sse"):
        with fleet(generator, framing=framing) as (_, port):
            client = Client(port)
            for text in ("", 'quote " and \\ and \n and \u00e9\U0001f600', "x" * 300_000):
                status, answer = client.echo(text)
                assert status == 200
                assert answer["id"] == 7
                assert answer["result"]["content"] == [{"type": "text", "text": text}]
                assert answer["result"]["resultType"] == "complete"


def test_a_header_that_contradicts_the_body_is_refused(generator: str) -> None:
    with fleet(generator) as (_, port):
        client = Client(port)
        for header in ({"Mcp_Name": "up__echo"}, {"Mcp_Method": "tools/list"}, {"MCP_Protocol_Version": "2025-11-25"}):
            status, answer = client.echo("x", **header)
            assert (status, answer["error"]["code"], answer["id"]) == (400, -32020, 7)


def test_what_modern_requires_is_required(generator: str) -> None:
    with fleet(generator) as (_, port):
        client = Client(port)
        request = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
        status, _, answer = client.post(request, {**MODERN, "Mcp-Method": "tools/list"})
        assert (status, answer["error"]["code"]) == (400, -32602)
        request["params"] = {"_meta": {**META, "io.modelcontextprotocol/protocolVersion": "1900-01-01"}}
        status, _, answer = client.post(request, {"MCP-Protocol-Version": "1900-01-01", "Mcp-Method": "tools/list"})
        assert (status, answer["error"]["code"]) == (400, -32022)
        assert answer["error"]["data"]["requested"] == "1900-01-01"
        status, answer = client.modern("no/such")
        assert (status, answer["error"]["code"]) == (404, -32601)
        status, answer = client.modern("server/discover")
        assert answer["result"]["supportedVersions"] == ["2026-07-28"]
        status, answer = client.modern("tools/list")
        assert [tool["name"] for tool in answer["result"]["tools"]] == ["echo", "fail", "progress", "sleep"]
        assert {"ttlMs", "cacheScope", "resultType"} <= answer["result"].keys()


def test_a_legacy_session_is_issued_needed_and_ended(generator: str) -> None:
    with fleet(generator) as (_, port):
        client = Client(port)
        call = {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "fail", "arguments": {}}}
        session = client.initialize()
        assert client.post({"jsonrpc": "2.0", "method": "notifications/initialized"}, session)[0] == 202
        assert client.post(call, session)[2]["result"]["isError"] is True
        assert client.post({"jsonrpc": "2.0", "id": "p", "method": "ping"}, session)[2]["result"] == {}
        assert client.post(call)[0] == 400
        assert client.post(call, {"Mcp-Session-Id": "0" * 16})[0] == 404
        client.http.request("DELETE", "/mcp", headers=session)
        answer = client.http.getresponse()
        answer.read()
        assert answer.status == 200
        assert client.post(call, session)[0] == 404
        client.http.request("GET", "/mcp")
        answer = client.http.getresponse()
        answer.read()
        assert answer.status == 405


def test_each_era_alone_refuses_the_other(generator: str) -> None:
    with fleet(generator, era="modern") as (_, port):
        status, _, answer = Client(port).post(
            {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {"protocolVersion": "2025-11-25"}}
        )
        assert (status, answer["error"]["code"]) == (400, -32022)
    with fleet(generator, era="legacy") as (_, port):
        assert Client(port).modern("server/discover")[0] == 400


def test_chunked_request_bodies_and_broken_ones(generator: str) -> None:
    with fleet(generator) as (_, port):
        client = Client(port)
        params = {"_meta": META, "name": "echo", "arguments": {"text": "abc"}}
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}).encode()
        headers = {**MODERN, "Mcp-Method": "tools/call", "Mcp-Name": "echo", "Transfer-Encoding": "chunked"}
        _, _, answer = client.post([body[:9], body[9:100], body[100:]], headers)
        assert answer["result"]["content"][0]["text"] == "abc"
        status, _, answer = client.post(b'{"jsonrpc":')
        assert (status, answer["error"]["code"]) == (400, -32700)


def test_faults_come_as_configured(generator: str) -> None:
    for kind in ("rpc", "tool", "http", "reset"):
        with fleet(generator, error_rate=1.0, error_kind=kind) as (_, port):
            if kind == "reset":
                with pytest.raises((ConnectionError, http.client.HTTPException)):
                    Client(port).echo("x")
                continue
            status, answer = Client(port).echo("x")
            assert status == (503 if kind == "http" else 200)
            assert "error" in answer if kind != "tool" else answer["result"]["isError"]
    with fleet(generator, lie_rate=1.0) as (_, port):
        assert Client(port).echo("x")[1]["result"]["content"][0]["text"] != "x"


def test_latency_sleep_and_answer_size(generator: str) -> None:
    with fleet(generator, latency={"distribution": "constant", "ms": 30}, answer_bytes=500) as (_, port):
        client = Client(port)
        begin = time.perf_counter()
        content = client.echo("x")[1]["result"]["content"]
        assert time.perf_counter() - begin >= 0.03
        assert sum(len(part["text"]) for part in content) == 500
        begin = time.perf_counter()
        client.modern("tools/call", {"name": "sleep", "arguments": {"text": "x", "ms": 50}})
        assert time.perf_counter() - begin >= 0.08


MEAN_MS, CALLS, TICK_MS = 5.0, 300, 1.0
"""A timer may be of whole milliseconds, and so early or late by a tick."""


def test_latency_has_the_mean_and_the_spread_that_was_asked_for(generator: str) -> None:
    # A sum of exponential draws is gamma distributed: outside of these a right fleet is once in 20,000 runs.
    low_ms, high_ms = (MEAN_MS * x for x in oracle.gamma.ppf([2.5e-5, 1 - 2.5e-5], CALLS) / CALLS)
    said = []
    # Other tests may hold the processor in the middle of a call. Three times over they do not.
    for seed in range(1, 4):
        constant, exponential = timed_ms(generator, seed)
        assert min(constant) >= MEAN_MS - TICK_MS
        # What comes on top of a latency, the way and whoever else has the processor, is alike for calls in turn.
        mean_ms = statistics.fmean(exponential) - (statistics.fmean(constant) - MEAN_MS)
        quick = sum(one < MEAN_MS - TICK_MS for one in exponential) / CALLS
        usual_ms = statistics.quantiles(constant)[0]
        if low_ms - TICK_MS <= mean_ms <= high_ms + TICK_MS and quick > 0.1 and usual_ms < 1.5 * MEAN_MS:
            return
        said.append(f"constant {usual_ms:.2f} ms, exponential {mean_ms:.2f} ms, {quick:.0%} of them quick")
    pytest.fail("; ".join(said))


def timed_ms(generator: str, seed: int) -> tuple[list[float], list[float]]:
    """How long calls took of a fleet with constant latency and of one with exponential latency, in turn."""
    even, drawn = ({"distribution": name, "ms": MEAN_MS} for name in ("constant", "exponential"))
    found: tuple[list[float], list[float]] = ([], [])
    with fleet(generator, latency=even) as (_, one), fleet(generator, seed=seed, latency=drawn) as (_, two):
        clients = Client(one), Client(two)
        for _ in range(CALLS):
            for client, times_ms in zip(clients, found, strict=True):
                begin = time.perf_counter()
                assert client.echo("x")[0] == 200
                times_ms.append((time.perf_counter() - begin) * 1000)
    return found


def test_crash_hang_and_recover_are_acknowledged_and_true(generator: str) -> None:
    with fleet(generator) as (child, port):
        client = Client(port)
        session = client.initialize()
        child.send({"op": "crash"})
        assert child.expect("crashed", timeout_s=5)["open"] == 0
        with pytest.raises(OSError):  # noqa: PT011 - refused or reset
            Client(port).echo("x")
        child.send({"op": "recover"})
        child.expect("recovered", timeout_s=5)
        call = {"jsonrpc": "2.0", "id": 2, "method": "ping"}
        assert Client(port).post(call, session)[0] == 404
        client = Client(port)
        assert client.echo("x")[0] == 200
        child.send({"op": "hang"})
        child.expect("hung", timeout_s=5)
        client.http.sock.settimeout(0.2)
        with pytest.raises(TimeoutError):
            client.echo("y")
        child.send({"op": "recover"})
        child.expect("recovered", timeout_s=5)
        assert Client(port).echo("z")[0] == 200
        child.send({"op": "nonsense"})
        with pytest.raises(BlockFailed, match="nonsense"):
            child.expect("stats", timeout_s=5)


def test_many_ports_on_one_process(generator: str) -> None:
    with Child("fleet", [sys.executable, "-m", "crossfade.harness.fleet"]) as child:
        child.send({"generator": generator, "ports": 5})
        ports = child.expect("ready", timeout_s=20)["ports"]
        assert len(set(ports)) == 5
        assert all(Client(port).echo("x")[0] == 200 for port in ports)


@pytest.mark.parametrize(("config", "culprit"), [({"bogus": 1}, "bogus"), ({"era": "future"}, "future")])
def test_a_broken_configuration_is_named_and_exits_64(generator: str, config: dict[str, Any], culprit: str) -> None:
    with Child("fleet", [sys.executable, "-m", "crossfade.harness.fleet"]) as child:
        child.send({"generator": generator, **config})
        with pytest.raises(BlockFailed, match=culprit):
            child.expect("ready", timeout_s=20)
        assert child.process.wait(timeout=10) == 64


def test_stdio_speaks_both_eras_and_never_answers_what_was_cancelled(generator: str) -> None:
    config = json.dumps({"generator": generator})
    with Child("stdio", [sys.executable, "-m", "crossfade.harness.fleet", "--stdio", "--config", config]) as child:
        assert child.process.stdin is not None
        assert child.process.stdout is not None

        def call(ident: int, tool: str, **more: Any) -> dict[str, Any]:
            params = {"name": tool, "arguments": {"text": f"t{ident}", **more}}
            return {"jsonrpc": "2.0", "id": ident, "method": "tools/call", "params": params}

        modern = call(3, "echo")
        modern["params"]["_meta"] = META
        for message in (
            {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {"protocolVersion": "2025-11-25"}},
            {"jsonrpc": "2.0", "method": "notifications/initialized"},
            call(2, "sleep", ms=60),
            modern,
            call(4, "sleep", ms=30),
            {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 4}},
            call(5, "echo"),
        ):
            child.send(message)
        answers = [json.loads(child.process.stdout.readline()) for _ in range(4)]
        assert [answer["id"] for answer in answers] == [1, 3, 5, 2]
        assert answers[3]["result"]["content"][0]["text"] == "t2"
