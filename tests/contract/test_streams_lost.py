"""What a legacy client missed while it had no connection waits for it: on its own stream, in order, and not twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from tests.contract.bridging import Bridge, Place, announced, unique
from tests.contract.kit import HttpServer
from tests.contract.talker import call_of
from tests.contract.talker_http import LegacyHttpTalker

UPSTREAMS = [Place("legacy", server, "http", via) for server in ("legacy", "modern") for via in ("http", "stdio")]


@asynccontextmanager
async def talking(bridge: Bridge, version: str = "2025-11-25", **gateway: Any) -> AsyncIterator[LegacyHttpTalker]:
    async with bridge.serve(**gateway) as served:
        talker = LegacyHttpTalker(served.gateway)
        talker.version = version
        async with talker:
            yield talker


@pytest.fixture(params=UPSTREAMS, ids=str)
def bridge(request: pytest.FixtureRequest, variant: str, shared_http: Callable[..., HttpServer]) -> Bridge:
    return Bridge(variant, request.param, shared_http)


async def test_a_call_whose_connection_is_lost_goes_on_and_its_answer_waits(bridge: Bridge) -> None:
    async with talking(bridge) as talker:
        hold = unique("hold")
        pending = await talker.start("tools/call", call_of("progress", {"hold": hold}, progressToken=1))
        await talker.hear("notifications/progress")
        await talker.hear("notifications/progress")
        last = talker.streams[pending.id].last_event
        assert last is not None, "an event without an id cannot be come back for"
        pending.abandon()
        with pytest.raises(ConnectionError):
            await pending.answer()
        pending.done = asyncio.get_running_loop().create_future()
        assert await talker.text("release", hold=hold) != "0"
        await talker.get(last)
        assert (await pending.answer())["result"]["content"][0]["text"] == "progressed"
        assert not [one for one in talker.heard if one["method"] == "notifications/progress"], "told twice"


@pytest.mark.parametrize("bridge", UPSTREAMS[:1], ids=str, indirect=True)
async def test_changes_that_a_lost_stream_missed_are_told_when_it_is_back(bridge: Bridge) -> None:
    async with talking(bridge) as talker, talking_to(talker) as other:
        await talker.watch()
        await announced(other, "prompts/list_changed")
        await talker.hear("notifications/prompts/list_changed")
        own = talker.own
        assert own is not None
        assert own.last_event is not None
        own.connection.abort()
        talker.own = None
        await announced(other, "resources/list_changed")
        await talker.get(own.last_event)
        await talker.hear("notifications/resources/list_changed")
        assert not [one for one in talker.heard if one["method"] == "notifications/prompts/list_changed"]


@pytest.mark.parametrize("bridge", UPSTREAMS[:1], ids=str, indirect=True)
@pytest.mark.parametrize("last", ["1-999", "999-1", "nonsense", "-1"])
async def test_an_unknown_event_id_opens_a_fresh_stream(bridge: Bridge, last: str) -> None:
    async with talking(bridge) as talker:
        await talker.open_stream(last)
        await announced(talker, "prompts/list_changed")
        await talker.hear("notifications/prompts/list_changed")


@pytest.mark.parametrize("bridge", UPSTREAMS[1:2], ids=str, indirect=True)
@pytest.mark.parametrize(("version", "primed"), [("2025-11-25", True), ("2025-06-18", False)])
async def test_only_clients_that_know_it_are_sent_an_event_without_data(
    bridge: Bridge, version: str, primed: bool
) -> None:
    async with talking(bridge, version) as talker:
        pending = await talker.start("tools/call", call_of("progress", progressToken=1))
        await pending.answer()
        events = talker.streams[pending.id].event_ids
        assert len(events) == len(set(events)) == 3 + primed


@asynccontextmanager
async def talking_to(talker: LegacyHttpTalker) -> AsyncIterator[LegacyHttpTalker]:
    async with LegacyHttpTalker(talker.gateway) as other:
        yield other
