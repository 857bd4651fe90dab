"""A legacy server may end the stream of a call and expect its client back: the manager comes back for the answer."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.contract.bridging import ERAS, Bridge, Place
from tests.contract.kit import HttpServer, http_spec, manager_of


async def test_a_call_whose_stream_was_ended_gets_its_answer(
    variant: str, fresh_http: Callable[..., HttpServer]
) -> None:
    server = fresh_http(era="legacy")
    async with manager_of(variant, http_spec(server)) as manager:
        assert (await manager.call_tool("fix__drop", {"retry_ms": 50})).text == "resumed"
    back = [entry for entry in server.log("GET") if entry["last_event"]]
    assert len(back) == 1, "came back more than once"


@pytest.mark.parametrize("client", ERAS)
async def test_its_clients_do_not_notice(variant: str, client: str, shared_http: Callable[..., HttpServer]) -> None:
    async with Bridge(variant, Place(client, "legacy", "http", "http"), shared_http).open() as talker:
        assert await talker.text("drop") == "resumed"
        assert await talker.text("echo", text="and on") == "and on"
