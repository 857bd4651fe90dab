"""Rows of the bridge table: what a server offers, in every place of the grid."""

from __future__ import annotations

import pytest
from tests.contract.bridging import Bridge
from tests.contract.talker import call_of


@pytest.mark.bridge("tools")
async def test_tools(bridge: Bridge) -> None:
    async with bridge.open() as talker:
        tools = (await talker.result("tools/list"))["tools"]
        (echo,) = [tool for tool in tools if tool["name"] == "fix__echo"]
        assert echo["inputSchema"]["$defs"] == {"kept": {"$anchor": "kept"}}
        called = await talker.call("echo", {"text": "hé 😀", "n": 2**64})
        assert called["content"] == [{"type": "text", "text": "hé 😀"}]
        assert called["structuredContent"]["n"] == 2**64
        assert bridge.place.client == "legacy" or called["resultType"] == "complete"
        assert (await talker.call("odd"))["x-top"]["$defs"] == {"a": {"$anchor": "here"}}
        refused = await talker.error("tools/call", call_of("refuse", {"code": -32055, "data": {"a": [1]}}))
        assert (refused["code"], refused["data"]) == (-32055, {"a": [1]})


@pytest.mark.bridge("resources")
async def test_resources(bridge: Bridge) -> None:
    async with bridge.open() as talker:
        (listed,) = (await talker.result("resources/list"))["resources"]
        assert (listed["uri"], listed["x-r"]) == ("fixture://greeting", 1)
        (template,) = (await talker.result("resources/templates/list"))["resourceTemplates"]
        assert template["uriTemplate"] == "fixture://item/{id}"
        for uri in ("fixture://greeting", "fixture://item/9"):
            read = await talker.result("resources/read", {"uri": uri})
            assert read["contents"][0]["text"] == f"content of {uri}"
        assert (await talker.error("resources/read", {"uri": "fixture://none"}))["code"] == -32602


@pytest.mark.bridge("prompts")
async def test_prompts(bridge: Bridge) -> None:
    async with bridge.open() as talker:
        (prompt,) = (await talker.result("prompts/list"))["prompts"]
        assert (prompt["name"], prompt["x-p"]) == ("fix__greet", 1)
        got = await talker.result("prompts/get", {"name": "fix__greet", "arguments": {"who": "Ada"}})
        assert got["messages"][0]["content"]["text"] == "Hello, Ada"


@pytest.mark.bridge("completion")
@pytest.mark.relay_hazard("completion not forwarded")
async def test_completion(bridge: Bridge) -> None:
    async with bridge.open() as talker:
        for ref, name in (
            ({"type": "ref/prompt", "name": "fix__greet"}, "greet"),
            ({"type": "ref/resource", "uri": "fixture://item/{id}"}, "fixture://item/{id}"),
        ):
            done = await talker.result("completion/complete", {"ref": ref, "argument": {"name": "a", "value": "v"}})
            assert done["completion"]["values"] == [f"{name}:a:v"]
