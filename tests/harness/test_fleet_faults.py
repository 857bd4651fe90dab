"""What the fleet can do besides echoing, native and Python alike: resources, progress, slow ports, misbehaviour."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import subprocess
import sys
import threading
import time
from typing import Any

import pytest
from tests.harness.fleetclient import META, Client, fleet

from crossfade.harness.processes import Child


def test_resources_are_listed_and_read_as_their_text(generator: str) -> None:
    with fleet(generator) as (_, port):
        client = Client(port)
        assert client.modern("server/discover")[1]["result"]["capabilities"] == {"tools": {}, "resources": {}}
        listed = client.modern("resources/list")[1]["result"]
        assert [resource["uri"] for resource in listed["resources"]] == ["echo:///hello"]
        templates = client.modern("resources/templates/list")[1]["result"]["resourceTemplates"]
        assert templates[0]["uriTemplate"] == "echo:///{text}"
        status, answer = client.modern("resources/read", {"uri": "echo:///a b"}, Mcp_Name="echo:///a b")
        assert (status, answer["result"]["contents"][0]["text"]) == (200, "a b")
        assert answer["result"]["contents"][0]["uri"] == "echo:///a b"
        status, answer = client.modern("resources/read", {"uri": "echo:///a"}, Mcp_Name="echo:///b")
        assert (status, answer["error"]["code"]) == (400, -32020)
        assert client.modern("resources/read", {"uri": "x:y"}, Mcp_Name="x:y")[1]["error"]["code"] == -32602
        session = client.initialize()
        request = {"jsonrpc": "2.0", "id": 1, "method": "resources/read", "params": {"uri": "x:y"}}
        assert client.post(request, session)[2]["error"]["code"] == -32002


def _progress(token: Any) -> dict[str, Any]:
    meta = {**META, "progressToken": token} if token is not None else META
    return {"_meta": meta, "name": "progress", "arguments": {"text": "t", "n": 1, "events": 2}}


@pytest.mark.parametrize("framing", ["length", "chunked", "sse"])
def test_progress_comes_before_the_answer_in_one_stream(generator: str, framing: str) -> None:
    with fleet(generator, framing=framing) as (_, port):
        client = Client(port)
        body = json.dumps({"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": _progress("p")})
        head = {"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/call", "Mcp-Name": "progress"}
        client.http.request("POST", "/mcp", body, {"Content-Type": "application/json", **head})
        answer = client.http.getresponse()
        assert answer.getheader("Content-Type") == "text/event-stream"
        messages = [json.loads(line[6:]) for line in answer.read().splitlines() if line.startswith(b"data: ")]
        told = [message["params"] for message in messages[:-1]]
        assert told == [{"progressToken": "p", "progress": n, "total": 2} for n in (1, 2)]
        assert messages[-1]["result"]["content"][0]["text"] == "t"
        assert client.modern("tools/call", _progress(None))[1]["result"]["content"][0]["text"] == "t"


def test_the_last_ports_are_slow_for_calls_and_reads_alone(generator: str) -> None:
    with Child("fleet", [sys.executable, "-m", "crossfade.harness.fleet"]) as child:
        child.send({"generator": generator, "ports": 3, "slow_ports": 1, "slow_ms": 150})
        ports = child.expect("ready", timeout_s=20)["ports"]
        took = []
        for port in ports:
            client = Client(port)
            begin = time.perf_counter()
            client.modern("tools/list")
            listed = time.perf_counter()
            client.echo("x")
            took.append((listed - begin, time.perf_counter() - listed))
        assert took[2][1] >= 0.14
        assert max(took[0][1], took[1][1], took[2][0]) < 0.14


def test_garbage_is_no_http_and_no_json_in_turn(generator: str) -> None:
    with fleet(generator) as (child, port):
        child.send({"op": "garbage"})
        child.expect("garbage", timeout_s=5)
        kinds = set()
        for _ in range(4):
            client = Client(port)
            try:
                client.echo("x")
            except http.client.HTTPException:
                kinds.add("http")
            except ValueError:
                kinds.add("json")
            client.http.close()
        assert kinds == {"http", "json"}
        child.send({"op": "recover"})
        child.expect("recovered", timeout_s=5)
        assert Client(port).echo("x")[0] == 200


def test_a_reset_is_a_reset_and_not_a_farewell(generator: str) -> None:
    with fleet(generator) as (child, port):
        client = Client(port)
        client.echo("x")
        child.send({"op": "reset"})
        child.expect("reset", timeout_s=5)
        with pytest.raises(ConnectionResetError) as caught:
            client.echo("x")
        assert not isinstance(caught.value, http.client.RemoteDisconnected)
        child.send({"op": "recover"})
        child.expect("recovered", timeout_s=5)
        assert Client(port).echo("x")[0] == 200


def test_answers_drip_and_flow_again(generator: str) -> None:
    with fleet(generator) as (child, port):
        client = Client(port)
        child.send({"op": "drip", "ms": 1})
        child.expect("drip", timeout_s=5)
        begin = time.perf_counter()
        assert client.echo("x")[0] == 200
        assert time.perf_counter() - begin >= 0.1
        child.send({"op": "drip", "ms": 10_000})
        child.expect("drip", timeout_s=5)
        client.http.sock.settimeout(0.2)
        with pytest.raises(TimeoutError):
            client.echo("y")
        slow = Client(port)
        answers: list[int] = []
        asking = threading.Thread(target=lambda: answers.append(slow.echo("z")[0]))
        asking.start()
        for _ in range(1000):
            child.send({"op": "stats"})
            if child.expect("stats", timeout_s=5)["requests"] >= 3:
                break
        child.send({"op": "recover"})
        child.expect("recovered", timeout_s=5)
        asking.join(timeout=10)
        assert answers == [200]
        assert Client(port).echo("x")[0] == 200


def _stdio(generator: str, **config: Any) -> subprocess.Popen[bytes]:
    argv = [sys.executable, "-m", "crossfade.harness.fleet", "--stdio", "--config"]
    pipes: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    return subprocess.Popen([*argv, json.dumps({"generator": generator, **config})], **pipes)


def _ask(process: subprocess.Popen[bytes], params: dict[str, Any], lines: int = 1) -> list[bytes]:
    assert process.stdin is not None
    assert process.stdout is not None
    request = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
    process.stdin.write(json.dumps(request).encode() + b"\n")
    process.stdin.flush()
    return [process.stdout.readline() for _ in range(lines)]


def test_on_stdio_progress_is_lines_and_garbage_is_one(generator: str) -> None:
    with _stdio(generator) as process:
        lines = [json.loads(line) for line in _ask(process, _progress(5), 3)]
        assert [line.get("method") for line in lines] == ["notifications/progress"] * 2 + [None]
        process.communicate()
    with _stdio(generator, error_rate=1.0, error_kind="garbage") as process:
        with pytest.raises(json.JSONDecodeError):
            json.loads(_ask(process, _progress(5))[0])
        process.communicate()


def test_a_flood_of_noise_stops_a_server_whose_log_nobody_reads(generator: str) -> None:
    with _stdio(generator, stderr_bytes_per_s=50_000_000) as process:
        assert process.stderr is not None
        answers: list[bytes] = []
        asking = threading.Thread(target=lambda: answers.extend(_ask(process, _progress(None))))
        # The pipe is full when no more fits: only then is nothing answered.
        descriptor = process.stderr.fileno()
        full = threading.Event()
        while not full.is_set():
            before = _waiting(descriptor)
            time.sleep(0.05)  # not to synchronise: the time in which a flood would have risen
            if before == _waiting(descriptor) >= 60_000:
                full.set()
        asking.start()
        asking.join(timeout=0.3)
        assert answers == []
        reading = threading.Thread(target=_drain, args=(descriptor,), daemon=True)
        reading.start()
        asking.join(timeout=10)
        assert len(answers) == 1
        process.kill()
        reading.join(timeout=10)


def _waiting(descriptor: int) -> int:
    import fcntl
    import termios

    return int.from_bytes(fcntl.ioctl(descriptor, termios.FIONREAD, b"\0" * 4), sys.byteorder)


def _drain(descriptor: int) -> None:
    with contextlib.suppress(OSError):
        while os.read(descriptor, 1 << 16):
            pass


def test_noise_is_for_stdio(generator: str) -> None:
    with Child("fleet", [sys.executable, "-m", "crossfade.harness.fleet"]) as child:
        child.send({"generator": generator, "stderr_bytes_per_s": 5})
        assert child.process.wait(timeout=20) == 64
