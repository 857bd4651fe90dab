"""Rows of the bridge table: what a server asks in the middle of a call, in every place of the grid."""

from __future__ import annotations

import json

import pytest
from tests.contract.bridging import Bridge
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
