"""Listening upstream: only while somebody listens, once however many do, and again after a loss."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.contract.bridging import ERAS, TALKERS, announced
from tests.contract.clients import serving
from tests.contract.kit import HttpServer, http_spec, until

METHODS = {"legacy": "GET", "modern": "subscriptions/listen"}


@pytest.mark.parametrize("era", ERAS)
async def test_nobody_is_listened_to_while_nobody_listens(
    variant: str, era: str, fresh_http: Callable[..., HttpServer]
) -> None:
    server = fresh_http(era=era)
    async with serving(variant, http_spec(server)) as served:
        async with TALKERS["modern"](served.gateway) as talker:
            assert await talker.text("echo", text="hello") == "hello"
            assert server.log(METHODS[era]) == []
            await talker.watch()
            async with TALKERS["modern"](served.gateway) as second:
                await second.watch()
                assert len(server.log(METHODS[era])) == 1, "one source per server"
        await until(lambda: bool(server.log("unlistened")), what="the end of the watch with its last listener")


@pytest.mark.parametrize("era", ERAS)
async def test_a_server_that_comes_back_is_listened_to_again_and_its_lists_count_as_changed(
    variant: str, era: str, fresh_http: Callable[..., HttpServer]
) -> None:
    server = fresh_http(era=era)
    async with serving(variant, http_spec(server)) as served, TALKERS["modern"](served.gateway) as talker:
        await talker.watch()
        server.kill()
        again = fresh_http(era=era, port=server.port)
        await talker.hear("notifications/tools/list_changed")
        await until(lambda: bool(again.log(METHODS[era])), what="a new watch")
        talker.heard.clear()
        await announced(talker, "prompts/list_changed")
        await talker.hear("notifications/prompts/list_changed")
