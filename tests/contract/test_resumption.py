"""Answers whose stream ends before they come are read on behind the last event (2025-11-25, "Resumability")."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from tests.contract.clients import serving
from tests.contract.kit import HttpServer, http_spec, manager_of


async def test_a_call_whose_stream_ended_is_answered_on_the_next(
    variant: str, fresh_http: Callable[..., HttpServer]
) -> None:
    server = fresh_http(era="legacy")
    async with manager_of(variant, http_spec(server)) as manager:
        assert (await manager.call_tool("fix__drop", {})).text == "resumed"
        (resumed,) = [entry for entry in server.log("GET") if entry["last_event"]]
        assert resumed["session"] == server.log("tools/call")[0]["session"]


async def test_the_server_says_how_long_to_wait(variant: str, fresh_http: Callable[..., HttpServer]) -> None:
    async with manager_of(variant, http_spec(fresh_http(era="legacy"))) as manager:
        begun = asyncio.get_running_loop().time()
        assert (await manager.call_tool("fix__drop", {"retry_ms": 700})).text == "resumed"
        assert asyncio.get_running_loop().time() - begun >= 0.7


@pytest.mark.parametrize("newline", ["lf", "crlf", "cr"])
async def test_events_are_read_with_every_line_end(
    variant: str, fresh_http: Callable[..., HttpServer], newline: str
) -> None:
    server = fresh_http(era="legacy", sse=True, newline=newline)
    async with serving(variant, http_spec(server)) as served, served.client("modern") as client:
        assert await client.text("fix__echo", text="a\nb") == "a\nb"
        assert await client.text("fix__drop") == "resumed"
