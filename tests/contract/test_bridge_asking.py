"""Rows of the bridge table: what a server asks in the middle of a call, in every place of the grid."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial

import pytest
from tests.contract.bridging import Bridge, Place
from tests.contract.kit import HttpServer
from tests.contract.talker import REPLIES


async def asks(bridge: Bridge, method: str) -> None:
    """The server asks in a call, a prompt and a resource; question and answer pass untouched."""
    async with bridge.open({method: REPLIES[method]}) as talker:
        params = {"message": "Who?", "x-question": {"deep": [2**64]}, "_meta": {"x-vendor/key": 1}}
        rounds = [[{"key": "k", "method": method, "params": params}]]
        assert await talker.json("gather", rounds=rounds) == [{"k": REPLIES[method]}]
        (asked,) = talker.asked
        assert asked["method"] == method
        assert {**asked["params"], "_meta": {"x-vendor/key": asked["params"]["_meta"]["x-vendor/key"]}} == params
        read = await talker.result("resources/read", {"uri": f"fixture://asking/{method}"})
        assert json.loads(read["contents"][0]["text"]) == [{"one": REPLIES[method]}]
        got = await talker.result("prompts/get", {"name": "fix__asking", "arguments": {"method": method}})
        assert json.loads(got["messages"][0]["content"]["text"]) == [{"one": REPLIES[method]}]
        assert len(talker.asked) == 3


@pytest.mark.bridge("elicitation")
async def test_elicitation(bridge: Bridge) -> None:
    await asks(bridge, "elicitation/create")


@pytest.mark.bridge("sampling")
async def test_sampling(bridge: Bridge) -> None:
    await asks(bridge, "sampling/createMessage")


@pytest.mark.bridge("roots")
async def test_roots(bridge: Bridge) -> None:
    await asks(bridge, "roots/list")


@pytest.mark.parametrize("upstream", ["stdio", "http", "sse"])
@pytest.mark.parametrize("face", ["stdio", "http"])
async def test_a_server_that_only_wants_its_state_back_needs_nothing_of_the_client(
    variant: str, face: str, upstream: str, shared_http: Callable[..., HttpServer]
) -> None:
    """A round without questions is the gateway's own affair, whatever the client declared."""
    place = Place("legacy", "modern", face, upstream.replace("sse", "http"))
    http = partial(shared_http, sse=True) if upstream == "sse" else shared_http
    async with Bridge(variant, place, http).open(capabilities={}) as talker:
        assert await talker.json("gather", rounds=[[], [], []]) == [{}, {}, {}]
        roots = {"rounds": [[], [{"key": "k", "method": "roots/list"}]], "anyway": True}
        asked = await talker.ask("tools/call", {"name": "fix__gather", "arguments": roots})
        assert asked["error"]["code"] == -32021, asked
        assert await talker.text("echo", text="well") == "well"
