"""Streams that stay open: they are kept alive while nothing is said, and nothing is said twice."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.contract.bridging import ERAS, Bridge, Place, announced, text_of, unique
from tests.contract.kit import HttpServer, until
from tests.contract.talker import Talker, call_of
from tests.contract.talker_http import HttpTalker, LegacyHttpTalker, Stream

PAIRINGS = [Place(client, server, "http", "http") for client in ERAS for server in ERAS]

RAW = Place("modern", "modern", "http", "http")
"""Here a call's stream is passed on as the bytes that the server sends, its own comments among them."""
TOLD = [place for place in PAIRINGS if place != RAW]
"""Here it is passed on event by event, so that a comment of the gateway's fits between two."""


@pytest.fixture(params=PAIRINGS, ids=str)
def bridge(request: pytest.FixtureRequest, variant: str, shared_http: Callable[..., HttpServer]) -> Bridge:
    return Bridge(variant, request.param, shared_http)


def stream_of_changes(talker: Talker) -> Stream:
    """The stream that a watch has opened."""
    if isinstance(talker, LegacyHttpTalker):
        assert talker.own is not None
        return talker.own
    assert isinstance(talker, HttpTalker)
    return talker.streams[talker.listening.id]


@pytest.mark.relay_hazard("idle streams cut in long calls")
async def test_a_silent_stream_of_changes_is_kept_alive(bridge: Bridge) -> None:
    async with bridge.open(keep_alive_ms=50) as talker:
        await talker.watch()
        stream = stream_of_changes(talker)
        seen = stream.comments
        await until(lambda: stream.comments >= seen + 3, what="comments while nothing is said")
        assert await talker.text("grow", name=unique("grown")) != "0"
        await talker.hear("notifications/tools/list_changed")


@pytest.mark.parametrize("bridge", TOLD, ids=str, indirect=True)
@pytest.mark.relay_hazard("idle streams cut in long calls")
async def test_a_long_call_that_has_begun_to_speak_is_kept_alive(bridge: Bridge) -> None:
    async with bridge.open(keep_alive_ms=50) as talker:
        hold = unique("hold")
        pending = await talker.start("tools/call", call_of("progress", {"hold": hold}, progressToken=1))
        await talker.hear("notifications/progress")
        assert isinstance(talker, HttpTalker)
        stream = talker.streams[pending.id]
        seen = stream.comments
        await until(lambda: stream.comments >= seen + 3, what="comments while nothing is said")
        await talker.text("release", hold=hold)
        assert text_of(await pending.answer()) == "progressed"


@pytest.mark.parametrize("bridge", [RAW], ids=str, indirect=True)
@pytest.mark.relay_hazard("idle streams cut in long calls")
async def test_what_a_server_does_to_keep_a_long_call_alive_passes_through(bridge: Bridge) -> None:
    """The gateway says nothing itself (its own comments are 15 s apart) and holds back nothing of the server's."""
    async with bridge.open() as talker:
        hold = unique("hold")
        pending = await talker.start("tools/call", call_of("progress", {"hold": hold, "hums": True}, progressToken=1))
        await talker.hear("notifications/progress")
        assert isinstance(talker, HttpTalker)
        stream = talker.streams[pending.id]
        seen = stream.comments
        await until(lambda: stream.comments >= seen + 10, what="comments of the server")
        await talker.text("release", hold=hold)
        assert text_of(await pending.answer()) == "progressed"


async def test_of_two_streams_of_a_session_one_speaks(variant: str, shared_http: Callable[..., HttpServer]) -> None:
    bridge = Bridge(variant, Place("legacy", "legacy", "http", "http"), shared_http)
    async with bridge.open() as talker:
        assert isinstance(talker, LegacyHttpTalker)
        await talker.watch()
        await talker.get()
        for what in ("prompts", "resources"):
            await announced(talker, f"{what}/list_changed")
            await talker.hear(f"notifications/{what}/list_changed")
        assert talker.heard == []


async def test_every_client_that_listens_hears_and_nobody_else(
    variant: str, shared_http: Callable[..., HttpServer]
) -> None:
    """One subscription upstream however many clients there are, and one of them leaving takes nothing from the rest."""
    bridge = Bridge(variant, Place("modern", "legacy", "http", "http"), shared_http)
    other = Bridge(variant, Place("legacy", "legacy", "http", "http"), shared_http)
    uri = f"fixture://{unique('shared')}"
    async with (
        bridge.serve() as served,
        bridge.talker(served.gateway) as modern,
        other.talker(served.gateway) as legacy,
        other.talker(served.gateway) as silent,
    ):
        await modern.watch(uri)
        await legacy.watch(uri)
        await silent.watch()
        assert await announced(modern, "resources/updated", uri=uri) == 1, "one subscription upstream serves all"
        for talker in (modern, legacy):
            await talker.hear("notifications/resources/updated")
        await modern.unwatch(uri)
        assert await announced(legacy, "resources/updated", uri=uri) == 1
        await legacy.hear("notifications/resources/updated")
        await legacy.unwatch(uri)
        await announced(legacy, "resources/updated", uri=uri, expected=False)
        assert not [m for m in silent.heard if m["method"] == "notifications/resources/updated"]
