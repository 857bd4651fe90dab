"""Gateways of a user's own: what their options may say, what they cannot be measured on, and what is billed to them."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from crossfade.harness.cli import main
from crossfade.harness.gateways import Gateway, parse
from crossfade.harness.measure.bench import echoed
from crossfade.harness.measure.foreign import arguments, echo_among, opened
from crossfade.harness.measure.target import Target, spent_ns
from crossfade.harness.problems import BlockFailed, HarnessError, Unavailable, UsageError
from crossfade.harness.processtree import listeners, tree
from crossfade.scenarios import builtin, changed
from crossfade.scenarios import parse as parse_scenario

SH = "sh --port {port} {upstream}"


def read(*commands: str, urls: tuple[str, ...] = ()) -> list[Gateway]:
    return parse(commands, urls, fleet_port=9100, known=("python", "rust"))


WRONG = {
    "no name": ((SH,), (), UsageError, "NAME=..."),
    "no command": (("mine=",), (), UsageError, "write for example"),
    "a name that is none": ((f"My Gateway={SH}",), (), UsageError, "lower case"),
    "a variant's name": ((f"rust={SH}",), (), UsageError, "is taken"),
    "a limit's name": ((f"nginx={SH}",), (), UsageError, "is taken"),
    "a name twice": ((f"a={SH}", f"a={SH}"), (), UsageError, "is taken"),
    "no port": (("a=sh {upstream}",), (), UsageError, "has no {port}"),
    "no upstream": (("a=sh {port}",), (), UsageError, "does not say what it serves"),
    "a misspelt placeholder": (("a=sh {port} {upsteam}",), (), UsageError, "{upsteam} is no placeholder"),
    "a quote that is open": (("a=sh '{port} {upstream}",), (), UsageError, "quote it"),
    "nothing on PATH": (("a=no-such-gateway {port} {upstream}",), (), Unavailable, "not on PATH"),
    "https": ((), ("a=https://example.org/mcp",), UsageError, "plain HTTP"),
    "no host": ((), ("a=http:///mcp",), UsageError, "http://HOST"),
    "a port that is none": ((), ("a=http://h:99999999/mcp",), UsageError, "http://HOST"),
    "a query": ((), ("a=http://127.0.0.1:1/mcp?x=1",), UsageError, "leave it out"),
    "nobody there": ((), ("a=http://127.0.0.1:1/mcp",), Unavailable, "start it before the run"),
}


@pytest.mark.parametrize(("commands", "urls", "kind", "says"), WRONG.values(), ids=WRONG)
def test_an_option_that_cannot_be_meant_is_refused_before_anything_runs(
    commands: tuple[str, ...], urls: tuple[str, ...], kind: type[HarnessError], says: str
) -> None:
    with pytest.raises(kind) as caught:
        read(*commands, urls=urls)
    assert says in str(caught.value)
    assert caught.value.exit_code >= 64


def test_placeholders_are_filled_in_and_other_braces_stay(tmp_path: Path) -> None:
    entry = {"command": "python", "args": ["-m", "fleet", "--config", '{"era": "both"}']}
    gateway = Gateway(name="a", command="gw --port={port} '{\"keep\": 1}' {server} --line={server} --file {config}")
    words = arguments(gateway, port=71, entry=entry, folder=tmp_path)
    assert words[:3] == ["gw", "--port=71", '{"keep": 1}']
    assert words[3:8] == ["python", "-m", "fleet", "--config", '{"era": "both"}']
    assert shlex.split(words[8].removeprefix("--line=")) == words[3:8]
    assert Path(words[10]).read_bytes().startswith(b'{"mcpServers":{"up":{"command":"python"')


@pytest.mark.parametrize(
    ("tools", "found"),
    [
        (["echo", "up_echo"], "echo"),
        (["up__echo", "up__fail"], "up__echo"),
        (["fleet/echo"], "fleet/echo"),
        (["a_echo", "b_echo"], None),
        (["reecho"], None),
        ([], None),
    ],
)
def test_the_fleets_tool_is_found_under_the_name_that_a_gateway_gives_it(tools: list[str], found: str | None) -> None:
    assert echo_among(tools) == found


@contextlib.contextmanager
def answering(words: str) -> Iterator[int]:
    """The port of a gateway that says these words to everything, with the right id before them."""

    class Answering(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            body = f'{{"jsonrpc": "2.0", "id": {asked["id"]}, {words}}}'.encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Answering) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


NO_OBJECT = "and neither result nor error is an object"
ODD = {
    "a result that is null": ('"result": null', ('"result":null', NO_OBJECT)),
    "a result that is a list": ('"result": []', ('"result":[]', NO_OBJECT)),
    "an error that is a word": ('"error": "no"', ('"error":"no"', NO_OBJECT)),
    "neither": ('"more": {}', ('"more":{}', NO_OBJECT)),
    "tools that are null": ('"result": {"tools": null}', ("no tool called echo", "'tools': None")),
    "tools that are an object": ('"result": {"tools": {"name": "echo"}}', ("no tool called echo",)),
    "tools without names": ('"result": {"tools": [null, "echo", {"name": 7}, {}]}', ("no tool called echo",)),
    "an error": ('"error": {"code": -32603, "message": "on strike"}', ("on strike", "log says")),
}


@pytest.mark.parametrize(("words", "says"), ODD.values(), ids=ODD)
def test_whatever_a_gateway_answers_is_told_with_its_name(words: str, says: tuple[str, ...]) -> None:
    with answering(words) as port:
        gateway = Gateway(name="odd", url=f"http://127.0.0.1:{port}/mcp")
        with (
            pytest.raises(BlockFailed) as caught,
            opened(gateway, entry={}, cpus=None, era="modern", start_s=0.3),
        ):
            pytest.fail("it was taken for a gateway with the fleet's tools")
    assert str(caught.value).startswith("odd: did not serve the fleet's tools")
    assert all(told in str(caught.value) for told in says), caught.value


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"result": None},
        {"result": []},
        {"result": {}},
        {"result": {"content": None}},
        {"result": {"content": "hello"}},
        {"result": {"content": [None]}},
        {"result": {"content": [{"text": 7}]}},
        {"result": {"content": [{"text": "hello"}, {"text": "hello"}]}},
    ],
)
def test_what_is_no_echo_is_none_whatever_its_shape(answer: dict[str, Any]) -> None:
    assert echoed(answer) is None
    assert echoed({"result": {"content": [{"type": "text", "text": "hello"}]}}) == "hello"


def test_what_cannot_be_measured_on_a_gateway_is_left_out_with_the_reason() -> None:
    scenarios = builtin()
    over_http, over_stdio = (
        Gateway(name="a", command="g {port} {upstream}"),
        Gateway(name="b", command="g {port} {server}"),
    )
    both, there = Gateway(name="c", command="g {port} {config}"), Gateway(name="d", url="http://h/mcp")
    assert all(g.lacks(scenarios["gateway-echo"]) is None for g in (over_http, both, there))
    assert "{upstream}" in (over_stdio.lacks(scenarios["gateway-echo"]) or "")
    assert "{server}" in (over_http.lacks(scenarios["gateway-stdio"]) or "")
    assert all(g.lacks(scenarios["gateway-stdio"]) is None for g in (over_stdio, both))
    assert "--command" in (there.lacks(scenarios["gateway-stdio"]) or "")
    assert "fresh process" in (there.lacks(scenarios["memory-clients"]) or "")
    assert "HTTP face" in (both.lacks(scenarios["calls-echo"]) or "")
    assert "several servers" in (both.lacks(scenarios["replicas"]) or "")
    assert "cannot be timed" in (there.lacks(scenarios["start-http"]) or "")


@pytest.fixture
def family() -> Iterator[subprocess.Popen[bytes]]:
    """A shell, a child of its own, and an upstream of ours, which is not the gateway's. All are up."""
    ours = f'(echo \'{{"generator": "python"}}\'; cat <&3) | {sys.executable} -m crossfade.harness.fleet'
    mine = f"{sys.executable} -c 'import os; os.write(1, b\"up\\n\"); os.read(0, 1)' own-child <&3"
    # Words of its own command line name the fleet too, as those of a gateway that was told what to start.
    command = ["sh", "-c", f"exec 3<&0; {mine} & {ours} & wait", "-m", "crossfade.harness.fleet"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdout is not None
        assert {process.stdout.readline()[:2], process.stdout.readline()[:2]} == {b"up", b'{"'}
        yield process
        os.killpg(process.pid, 9)


def test_a_gateways_children_are_billed_to_it_and_an_upstream_of_ours_is_not(
    family: subprocess.Popen[bytes],
) -> None:
    found = tree(family.pid)
    lines = [Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0") for pid in found]
    assert found[0] == family.pid
    assert sum(b"own-child" in line for line in lines) == 1
    assert not any(line[1:3] == [b"-m", b"crossfade.harness.fleet"] for line in lines)
    assert tree(2**22 + 1) == ()


def test_who_listens_on_a_port_is_found() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert os.getpid() in listeners(server.getsockname()[1])
    assert listeners(1) == ()


def test_unknown_processes_cost_nobody_knows_what_and_not_nothing() -> None:
    assert spent_ns({}, {}) is None
    assert spent_ns({1: 10}, {1: 25, 2: 5}) == 20
    with pytest.raises(BlockFailed, match="process 1 of the target ended"):
        spent_ns({1: 10}, {2: 5})
    with pytest.raises(BlockFailed, match="--command"):
        Target(80, "echo").readable()


def test_a_key_can_be_changed_for_a_run_and_a_wrong_one_cannot(capsys: pytest.CaptureFixture[str]) -> None:
    echo = builtin()["gateway-echo"]
    other = changed(echo, ["load.era=legacy", "upstream.era=both", "sweep.refine=1"])
    assert other.load is not None
    assert (other.load.era, other.upstream.era) == ("legacy", "both")
    assert other.sha256("quick") != echo.sha256("quick")
    for change in ("load.era=stone-age", "load.colour=1", "lode.era=legacy", "load.era", "load.connections=-1"):
        assert main(["run", "gateway-echo", "--set", change]) == 64
        assert "Traceback" not in (said := capsys.readouterr().err)
        assert change.partition("=")[0].partition(".")[2] in said


def test_a_scenario_that_nothing_chosen_can_run_is_an_error_and_no_empty_run(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from crossfade.harness.cli import choose

    record = choose.lay_out(
        builtin()["calls-echo"], "quick", (), ("ceiling",), rounds=None, gateways=[Gateway(name="a", url="http://h/")]
    )
    with pytest.raises(UsageError, match="cannot be measured on what was chosen"):
        choose.measurable([record], selected=True)
    with pytest.raises(UsageError, match="nothing that was chosen"):
        choose.measurable([record], selected=False)
    assert "LEFT OUT" in capsys.readouterr().err
    assert record.by_plan == ("a",)


OWN = """
name = "{name}"
title = "Own"
summary = "Own."
kind = "throughput"
headline = ["{metric}"]
[load]
{manager}
[profiles]
quick = {{ rounds = 2 }}
standard = {{ rounds = 2 }}
full = {{ rounds = 2 }}
"""


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("gateway-echo", "p50_us", ""), 64, "give it one of its own"),
        (("own", "speed", ""), 64, "metric 'speed' is unknown"),
        (("own", "p50_us", "connections = 0\n"), 64, "load.connections"),
        (("own", "p50_us", "rate_per_s = 1e400\n"), 64, "rate_per_s"),
        (("own", "p50_us", "timeout_s = nan\n"), 64, "timeout_s"),
        (("own", "p50_us", "payload_bytes = 99999999999\n"), 64, "payload_bytes"),
        (("own", "p50_us", "[manager]\ncolour = 1\n"), 65, "colour"),
    ],
)
def test_a_scenario_file_of_ones_own_is_checked_before_anything_runs(
    words: tuple[str, str, str], code: int, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "own.toml"
    name, metric, tables = words
    path.write_text(OWN.format(name=name, metric=metric, manager=tables))
    assert main(["run", str(path), "--impl", "python", "--out", str(tmp_path / "r")]) == code
    assert says in capsys.readouterr().err
    assert not (tmp_path / "r").exists()


def test_the_words_of_a_scenario_of_ones_own_parse() -> None:
    assert parse_scenario(OWN.format(name="own", metric="p50_us", manager=""), source="own").name == "own"
