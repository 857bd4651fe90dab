"""A client that vanishes in the middle, in every phase: what it held is free, and nobody else notices."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from tests.contract.bridging import ERAS, Bridge, Place, unique
from tests.contract.clients import Served
from tests.contract.kit import HttpServer, children_of, until
from tests.contract.talker import Answer, Message, call_of
from tests.contract.talker_http import HttpTalker, LegacyHttpTalker

from crossfade.impls import DedicatedSpec

PLACES = [
    Place(client, server, "http", upstream) for client in ERAS for server in ERAS for upstream in ("stdio", "http")
]
PHASES = ["before the answer", "in the stream", "asked", "watching"]
ASKING: Message = {"rounds": [[{"key": "a", "method": "roots/list"}]], "wait_ms": 8000}


@pytest.fixture(params=PLACES, ids=str)
def bridge(request: pytest.FixtureRequest, variant: str, shared_http: Callable[..., HttpServer]) -> Bridge:
    return Bridge(variant, request.param, shared_http)


def answers(phase: str) -> dict[str, Answer]:
    """Whoever can be asked has a child of its own, where only it can see what is going on."""
    return {} if phase == "before the answer" else {"roots/list": None}


async def reaches(phase: str, bridge: Bridge, talker: HttpTalker, watcher: HttpTalker) -> None:
    """Brings the client there; the call's own connection is cut when it goes."""
    mark = unique("vanish")
    if phase == "before the answer":
        pending = await talker.start("tools/call", call_of("never", {"mark": mark}))
        assert await watcher.json("seen", method="sleeping", mark=mark, wait_ms=5000)
    elif phase == "in the stream":
        pending = await talker.start("tools/call", call_of("progress", {"hold": mark}, progressToken=1))
        await talker.hear("notifications/progress")
    elif phase == "watching":
        await talker.watch("fixture://greeting")
        if isinstance(talker, LegacyHttpTalker):
            assert talker.own is not None
            talker.own.connection.abort()
            return
        pending = talker.listening
    else:
        pending = await talker.start("tools/call", call_of("gather", ASKING))
        if bridge.place.client == "modern":
            first = (await pending.answer())["result"]
            assert first["resultType"] == "input_required"  # suspended here, or nothing is held at all
        else:
            await talker.was_asked("roots/list")
    pending.abandon()


async def is_free(served: Served) -> None:
    """Nothing of the one who left is held any more."""
    metrics = served.manager.metrics
    await until(lambda: metrics().in_flight == 0, what="the end of the call")
    await until(lambda: metrics().sessions == 0, what="the end of the session")
    await until(lambda: metrics().clients == 0, what="the end of the connections")


@pytest.mark.parametrize("phase", PHASES)
async def test_whoever_vanishes_leaves_nothing_behind(bridge: Bridge, phase: str) -> None:
    """Session and suspended call end when their time is up, a call or a stream with its connection.

    In the legacy era a stream that has begun waits for whoever comes back for it, as long as its call may last.
    """
    own = {"dedicated": DedicatedSpec(idle_ms=300), "timeout_ms": 1500}
    async with bridge.serve(own, session_idle_ms=400, input_timeout_ms=400) as served:
        children = len(children_of())
        async with bridge.talker(served.gateway, caller="bob") as watcher:
            assert await watcher.text("echo", text="before") == "before"
            async with bridge.talker(served.gateway, answers(phase), caller="alice") as talker:
                async with asyncio.timeout(10):
                    await reaches(phase, bridge, talker, watcher)
            assert await watcher.text("echo", text="beside") == "beside"
        await is_free(served)
        assert (await served.manager.call_tool("fix__echo", {"text": "after"})).text == "after"
        await until(lambda: len(children_of()) <= children, what="the end of children of one client's own")


@pytest.mark.parametrize("phase", PHASES)
async def test_a_session_deleted_in_the_middle_leaves_nothing_behind(
    variant: str, phase: str, shared_http: Callable[..., HttpServer]
) -> None:
    for upstream in ("stdio", "http"):
        bridge = Bridge(variant, Place("legacy", "legacy", "http", upstream), shared_http)
        async with bridge.serve() as served, bridge.talker(served.gateway) as watcher:
            async with bridge.talker(served.gateway, answers(phase)) as talker:
                assert isinstance(talker, LegacyHttpTalker)
                await reaches(phase, bridge, talker, watcher)
                assert await talker.delete() == 204
            assert isinstance(watcher, LegacyHttpTalker)
            assert await watcher.delete() == 204
            await is_free(served)


@pytest.mark.parametrize("server", ERAS)
async def test_a_client_on_pipes_that_leaves_while_it_is_asked_ends_the_gateway(
    variant: str, server: str, shared_http: Callable[..., HttpServer]
) -> None:
    """``piped`` asserts that it ends by itself, with 0."""
    bridge = Bridge(variant, Place("legacy", server, "stdio", "stdio"), shared_http)
    async with bridge.open({"roots/list": None}) as talker:
        await talker.start("tools/call", call_of("gather", ASKING))
        await talker.was_asked("roots/list")


async def test_a_thousand_questions_that_nobody_answers_are_bounded(
    variant: str, shared_http: Callable[..., HttpServer]
) -> None:
    """Each client is held to its own: those that came back for their answers get them."""
    bridge = Bridge(variant, Place("modern", "legacy", "http", "http"), shared_http)
    async with bridge.serve(input_timeout_ms=500) as served:
        async with bridge.talker(served.gateway, {"roots/list": None}) as silent:
            for _ in range(40):
                await silent.start("tools/call", call_of("gather", ASKING))
            roots: Message = {"roots": []}
            async with bridge.talker(served.gateway, {"roots/list": roots}, caller="bob") as talker:
                assert await talker.json("gather", **ASKING) == [{"a": roots}]
        await is_free(served)
