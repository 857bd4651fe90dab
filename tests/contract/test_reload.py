"""Hot reload: only what differs is touched, nothing is lost meanwhile, and a broken file changes nothing."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.contract.kit import ROOT, children_of, is_alive, manager_of, stdio_spec, until

from crossfade.harness.cli.reloading import following
from crossfade.impls import Config, Manager, ServerSpec, ServerState, ShedSpec, open_manager
from crossfade.impls.config.files import load_files
from crossfade.impls.errors import ServerNotFound


def pid_of(manager: Manager, name: str) -> int:
    pid = manager.get(name).instances[0].pid
    assert pid is not None
    return pid


def changed(spec: ServerSpec, **fields: Any) -> ServerSpec:
    return msgspec.structs.replace(spec, **fields)


@pytest.mark.relay_hazard("reload restarts unchanged servers")
async def test_a_reload_touches_only_what_differs(variant: str) -> None:
    others = children_of()  # fixtures that are shared
    same, goes, turns = stdio_spec("same"), stdio_spec("goes"), stdio_spec("turns")
    async with manager_of(variant, same, goes, turns) as manager:
        before = {name: pid_of(manager, name) for name in ("same", "goes", "turns")}
        new = Config(
            servers=(stdio_spec("comes"), changed(turns, env={"GREETING": "new"}), same),
            gateway=manager.config.gateway,
            seed=7,
        )
        changes = await manager.apply(new)
        assert ([s.name for s in changes.added], changes.removed, [s.name for s in changes.changed]) == (
            ["comes"],
            ("goes",),
            ["turns"],
        )
        assert changes.failed == {}
        assert pid_of(manager, "same") == before["same"]
        assert pid_of(manager, "turns") != before["turns"]
        assert not is_alive(before["turns"])
        assert not is_alive(before["goes"])
        assert {s.name: s.state for s in manager.servers()} == dict.fromkeys(
            ("same", "turns", "comes"), ServerState.HEALTHY
        )
        assert manager.config == new
        assert not await manager.apply(manager.config), "a second reload of the same configuration finds a difference"
        assert pid_of(manager, "same") == before["same"]
    assert children_of() == others


async def test_no_call_is_lost_by_a_reload(variant: str) -> None:
    first = stdio_spec("one")
    async with manager_of(variant, first) as manager:
        stop = asyncio.Event()
        answered = 0

        async def caller(number: int) -> None:
            nonlocal answered
            while not stop.is_set():
                assert (await manager.call_tool("one__echo", {"text": f"{number}"})).text == f"{number}"
                answered += 1

        callers = [asyncio.ensure_future(caller(n)) for n in range(8)]
        for generation in range(3):
            spec = changed(first, env={"GENERATION": str(generation)})
            assert not (await manager.apply(msgspec.structs.replace(manager.config, servers=(spec,)))).failed
        stop.set()
        await asyncio.gather(*callers)
        assert answered > 0


async def test_a_server_that_cannot_be_brought_to_its_new_form_goes_on_with_the_old(variant: str) -> None:
    good, bad = stdio_spec("good"), stdio_spec("bad")
    async with manager_of(variant, good, bad) as manager:
        broken = changed(bad, command="/no/such/command", args=())
        new = msgspec.structs.replace(manager.config, servers=(changed(good, env={"A": "1"}), broken))
        changes = await manager.apply(new)
        assert list(changes.failed) == ["bad"]
        assert "bad" in str(changes)
        assert (await manager.call_tool("bad__echo", {"text": "still"})).text == "still"
        assert {s.name: s for s in manager.config.servers}["bad"] == bad, "the configuration tells what does not run"
        assert len(await manager.list_tools("good")) > 0


async def test_an_added_server_that_does_not_start_is_told_and_not_kept(variant: str) -> None:
    async with manager_of(variant) as manager:
        broken = ServerSpec(name="nope", command="/no/such/command")
        changes = await manager.apply(msgspec.structs.replace(manager.config, servers=(broken,)))
        assert list(changes.failed) == ["nope"]
        with pytest.raises(ServerNotFound):
            manager.get("nope")
        assert manager.config.servers == ()


async def test_sections_that_only_a_restart_changes_are_named(variant: str) -> None:
    async with manager_of(variant) as manager:
        changes = await manager.apply(msgspec.structs.replace(manager.config, shed=ShedSpec(max_in_flight=9)))
        assert changes.restart == ("shed",)
        assert "restart" in str(changes)
        assert manager.config.shed.max_in_flight == 0


class Serving:
    """``crossfade serve`` with a file; ``said`` reads its notes until one holds a text."""

    def __init__(self, path: Path, variant: str, *more: str) -> None:
        self.watches = "--watch" in more
        program = "from crossfade.harness.cli import main; raise SystemExit(main())"
        command = [sys.executable, "-c", program, "serve", "--config", str(path), "--impl", variant]
        self.process = subprocess.Popen(
            [*command, "--port", "0", *more], cwd=ROOT, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True
        )

    def said(self, text: str) -> str:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            if text in line:
                return line
        raise AssertionError(f"the gateway ended and never said {text!r}")

    def stop(self) -> None:
        assert self.process.stderr is not None
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(10) == 0
        self.process.stderr.close()


def entry(spec: ServerSpec) -> dict[str, Any]:
    return {"command": spec.command, "args": list(spec.args), "cwd": spec.cwd, "env": dict(spec.env)}


def write(path: Path, *specs: ServerSpec) -> None:
    """As editors and orchestrators do: a new file takes the place of the old one."""
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps({"mcpServers": {spec.name: entry(spec) for spec in specs}}))
    os.replace(fresh, path)  # noqa: PTH105  the call that is meant


@pytest.fixture(params=[("--watch",), ()], ids=["watch", "sighup"])
def serving(request: pytest.FixtureRequest, tmp_path: Path, variant: str) -> Iterator[tuple[Serving, Path]]:
    path = tmp_path / "mcp.json"
    write(path, stdio_spec("one"))
    running = Serving(path, variant, *request.param)
    try:
        running.said("gateway on")
        yield running, path
    finally:
        running.stop()


def nudge(running: Serving) -> None:
    """Without ``--watch`` somebody has to say that the file is new."""
    if not running.watches:
        running.process.send_signal(signal.SIGHUP)


async def test_what_was_written_before_the_watch_began_is_seen(variant: str, tmp_path: Path) -> None:
    """The file is read, servers connect, the watch begins: a change in between is a change all the same."""
    path = tmp_path / "mcp.json"
    write(path, stdio_spec("one"))
    loaded = load_files(path)
    write(path, stdio_spec("one"), stdio_spec("two"))
    async with open_manager(loaded.config, variant) as manager:
        options = argparse.Namespace(config=path, watch=True)
        async with following(manager, loaded, options, asyncio.Event()):
            await until(lambda: [server.name for server in manager.servers()] == ["one", "two"], within_s=15)


def test_a_sighup_while_the_servers_connect_is_a_reload_and_not_the_end(variant: str, tmp_path: Path) -> None:
    path = tmp_path / "mcp.json"
    slow = stdio_spec("one")
    slow = changed(slow, command="sh", args=("-c", 'sleep 1; exec "$0" "$@"', slow.command or "", *slow.args))
    write(path, slow)
    running = Serving(path, variant)
    try:
        while not children_of(running.process.pid):
            assert running.process.poll() is None
            time.sleep(0.01)
        write(path, slow, stdio_spec("two"))
        running.process.send_signal(signal.SIGHUP)
        assert "1 added (two)" in running.said("reloaded")
    finally:
        running.stop()


def test_serve_follows_its_file_and_survives_a_broken_one(serving: tuple[Serving, Path]) -> None:
    running, path = serving
    before = children_of(running.process.pid)
    write(path, stdio_spec("one"), stdio_spec("two"))
    nudge(running)
    assert "1 added (two)" in running.said("reloaded")
    assert set(before) < set(children_of(running.process.pid)), "the first server was restarted"
    path.write_text("{ not JSON")
    nudge(running)
    assert "not valid JSON" in running.said("all goes on as before")
    assert len(children_of(running.process.pid)) == 2
    write(path, stdio_spec("two"))
    nudge(running)
    assert "1 removed (one)" in running.said("reloaded")
