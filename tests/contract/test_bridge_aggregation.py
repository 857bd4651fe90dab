"""Many servers under one roof: one that returns is told of, and without prefix one server's names are its own."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import pytest
from tests.contract.bridging import ERAS, TALKERS, Bridge, Place
from tests.contract.clients import serving
from tests.contract.kit import HttpServer, http_spec, stdio_spec

PARTIAL = "io.crossfade/partial"


@pytest.mark.parametrize("era", ERAS)
async def test_a_server_that_was_missing_in_a_list_is_told_of_when_it_returns(variant: str, era: str) -> None:
    specs = stdio_spec("slow", timeout_ms=500), stdio_spec("fix")
    async with serving(variant, *specs) as served, TALKERS[era](served.gateway) as talker:
        await talker.watch()
        pid = served.manager.get("slow").instances[0].pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        try:
            part = await talker.result("tools/list")
            assert part["_meta"][PARTIAL] == ["slow"]
        finally:
            os.kill(pid, signal.SIGCONT)
        await served.manager.call_tool("slow__echo", {"text": "back"})
        await talker.hear("notifications/tools/list_changed")
        whole = await talker.result("tools/list")
        assert PARTIAL not in whole.get("_meta", {})
        assert {tool["name"].split("__")[0] for tool in whole["tools"]} == {"slow", "fix"}


@pytest.mark.parametrize("server", ERAS)
@pytest.mark.parametrize("client", ERAS)
async def test_without_prefix_every_name_is_the_servers_own(
    variant: str, client: str, server: str, shared_http: Callable[..., HttpServer]
) -> None:
    bridge = Bridge(variant, Place(client, server, "http", "http"), shared_http)
    spec = http_spec(shared_http(era=server))
    async with (
        serving(variant, spec, prefix=False) as served,
        bridge.talker(served.gateway, {"roots/list": {"roots": []}}) as talker,
    ):
        assert "echo" in {tool["name"] for tool in (await talker.result("tools/list"))["tools"]}
        called = await talker.result("tools/call", {"name": "echo", "arguments": {"text": "bare"}})
        assert called["content"][0]["text"] == "bare"
        assert (await talker.result("prompts/get", {"name": "greet"}))["messages"]
        ref = {"type": "ref/prompt", "name": "greet"}
        done = await talker.result("completion/complete", {"ref": ref, "argument": {"name": "a", "value": "v"}})
        assert done["completion"]["values"] == ["greet:a:v"]
        rounds = [[{"key": "a", "method": "roots/list"}]]
        asked = await talker.result("tools/call", {"name": "gather", "arguments": {"rounds": rounds}})
        assert "roots" in asked["content"][0]["text"]
