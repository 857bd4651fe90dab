"""A legacy server may ask on the stream of its session instead of the call's: the client is asked nevertheless."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from tests.contract.bridging import ERAS, Bridge, Place, announced
from tests.contract.kit import HttpServer
from tests.contract.talker import REPLIES, Talker

ROUNDS = [[{"key": "a", "method": "roots/list"}]]


@pytest.mark.parametrize("client", ERAS)
async def test_what_is_asked_beside_the_call_reaches_its_client(
    variant: str, client: str, shared_http: Callable[..., HttpServer]
) -> None:
    bridge = Bridge(variant, Place(client, "legacy", "http", "http"), shared_http)
    async with bridge.open({"roots/list": REPLIES["roots/list"]}) as talker:
        if client == "legacy":
            await talker.open_stream()
        assert await talker.json("gather", rounds=ROUNDS, via="get") == [{"a": REPLIES["roots/list"]}]


async def test_a_stream_of_ones_own_that_is_lost_is_opened_again(
    variant: str, fresh_http: Callable[..., HttpServer]
) -> None:
    """Or a server that asks there would ask in vain from then on."""
    bridge = Bridge(variant, Place("legacy", "legacy", "http", "http"), fresh_http)
    async with bridge.open({"roots/list": REPLIES["roots/list"]}) as talker:
        await talker.open_stream()
        for _ in range(2):
            assert await talker.json("gather", rounds=ROUNDS, via="get") == [{"a": REPLIES["roots/list"]}]
            await talker.text("dismiss")
            for _ in range(20):
                answers = await talker.json("gather", rounds=ROUNDS, via="get", wait_ms=500)
                if answers == [{"a": REPLIES["roots/list"]}]:
                    break
            else:
                raise AssertionError("nobody listens any more")


async def test_a_child_of_ones_own_that_is_started_again_logs_as_its_client_wants(
    variant: str, shared_http: Callable[..., HttpServer]
) -> None:
    bridge = Bridge(variant, Place("legacy", "legacy", "http", "stdio"), shared_http)
    async with bridge.open({"roots/list": REPLIES["roots/list"]}) as talker:
        await talker.result("logging/setLevel", {"level": "error"})
        await until_level(talker, "error")
        assert "error" in await talker.ask("tools/call", {"name": "fix__crash", "arguments": {}})
        await until_level(talker, "error")


async def until_level(talker: Talker, level: str) -> None:
    for _ in range(50):
        answer = await talker.ask("tools/call", {"name": "fix__peer", "arguments": {}})
        if "result" in answer and json.loads(answer["result"]["content"][0]["text"])["level"] == level:
            return
    raise AssertionError(f"the child was not told the level {level}")


async def test_a_change_that_is_told_in_two_sessions_is_told_once(
    variant: str, fresh_http: Callable[..., HttpServer]
) -> None:
    """What the manager hears on its own stream counts; what a client's own session says of it is the same again."""
    bridge = Bridge(variant, Place("legacy", "legacy", "http", "http"), fresh_http)
    async with bridge.open({"roots/list": REPLIES["roots/list"]}) as talker:
        await talker.watch()
        await announced(talker, "tools/list_changed")
        await talker.hear("notifications/tools/list_changed")
        change = {"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}
        talker.heard.clear()
        assert await talker.text("raw", messages=[change]) == "said"
        await announced(talker, "prompts/list_changed")
        await talker.hear("notifications/prompts/list_changed")
        assert [one for one in talker.heard if one["method"] == change["method"]] == []
