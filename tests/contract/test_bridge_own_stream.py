"""A legacy server may ask on the stream of its session instead of the call's: the client is asked nevertheless."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.contract.bridging import ERAS, Bridge, Place
from tests.contract.kit import HttpServer
from tests.contract.talker import REPLIES

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
