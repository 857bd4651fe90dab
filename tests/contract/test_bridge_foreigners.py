"""What one client answers never counts for another, and what a client was asked is told to nobody else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from tests.contract.bridging import Bridge, Place, text_of
from tests.contract.kit import HttpServer
from tests.contract.talker import REPLIES, Message, RpcFailure, call_of
from tests.contract.talker_http import LegacyHttpTalker

ROOTS = {"rounds": [[{"key": "a", "method": "roots/list"}]], "wait_ms": 8000}


@pytest.fixture(params=["modern", "legacy"])
def bridge(request: pytest.FixtureRequest, variant: str, shared_http: Callable[..., HttpServer]) -> Bridge:
    return Bridge(variant, Place("legacy", request.param, "http", "http"), shared_http)


def legacy(talker: Any) -> LegacyHttpTalker:
    assert isinstance(talker, LegacyHttpTalker)
    return talker


async def test_responses_of_others_do_nothing(bridge: Bridge) -> None:
    """The id that was really asked, and every id that a gateway might use."""
    gate = asyncio.Event()

    async def slowly(_: Message) -> Message:
        await gate.wait()
        return REPLIES["roots/list"]

    async with (
        bridge.serve() as served,
        bridge.talker(served.gateway, {"roots/list": slowly}) as alice,
        bridge.talker(served.gateway, {"roots/list": REPLIES["roots/list"]}) as mallory,
    ):
        pending = await alice.start("tools/call", call_of("gather", ROOTS))
        asked = await alice.was_asked("roots/list")
        forged: list[Any] = [asked["id"], str(asked["id"]), *range(5), "1", "ask-1", "input-1", None, 1.5, "", [], {}]
        for guess in forged:
            body = {"jsonrpc": "2.0", "id": guess, "result": {"roots": [{"uri": "file:///stolen"}]}}
            async with await mallory.connect() as connection:
                answer = await connection.post(body, legacy(mallory).headers())
                assert answer.status in (202, 400), (guess, answer)
        assert not pending.done.done()
        gate.set()
        assert "stolen" not in text_of(await pending.answer())
        assert mallory.asked == []


async def test_a_second_answer_to_one_question_does_nothing(bridge: Bridge) -> None:
    async with bridge.open({"roots/list": REPLIES["roots/list"]}) as talker:
        assert await talker.json("gather", **ROOTS) == [{"a": REPLIES["roots/list"]}]
        (asked,) = talker.asked
        await talker.tell({"jsonrpc": "2.0", "id": asked["id"], "result": {"roots": []}})
        assert await talker.json("gather", **ROOTS) == [{"a": REPLIES["roots/list"]}]


async def test_two_clients_with_the_same_ids_are_asked_apart(bridge: Bridge) -> None:
    """Both ask at once, both are asked at once, and each answer is its own."""

    def roots(name: str) -> Message:
        return {"roots": [{"uri": f"file:///{name}"}]}

    names = [f"client-{number}" for number in range(6)]
    async with bridge.serve() as served:

        async def visit(name: str) -> None:
            async with bridge.talker(served.gateway, {"roots/list": roots(name)}) as talker:
                for _ in range(5):
                    assert await talker.json("gather", **ROOTS) == [{"a": roots(name)}]

        await asyncio.gather(*(visit(name) for name in names))


async def test_a_session_of_somebody_else_cannot_be_listened_to(bridge: Bridge) -> None:
    """Whoever has no session, or one that does not exist, gets no stream."""
    async with bridge.serve() as served, bridge.talker(served.gateway) as talker:
        for session in (None, "", "no-such-session", "A" * 10_000):
            connection = await talker.connect()
            async with connection:
                headers = {**legacy(talker).headers(), "Mcp-Session-Id": session, "Accept": "text/event-stream"}
                answer = await connection.request("GET", "/mcp", headers)
                assert answer.status in (400, 404, 405, 431), session


@pytest.mark.parametrize("method", ["elicitation/create", "sampling/createMessage", "roots/list"])
async def test_what_a_client_has_not_declared_it_is_not_asked(bridge: Bridge, method: str) -> None:
    rounds = [[{"key": "a", "method": method}]]
    async with bridge.open() as talker:
        answer = await talker.ask("tools/call", call_of("gather", {"rounds": rounds, "anyway": True}))
        if bridge.place.server == "legacy":
            assert "-32601" in text_of(answer)
        else:
            assert answer["error"]["code"] == -32021
        assert talker.asked == []
        assert await talker.text("echo", text="well") == "well"


async def test_a_refusal_of_the_client_reaches_the_server_or_ends_the_call(bridge: Bridge) -> None:
    """Elicitation has a word for it in both eras; the others end the call where there is none."""

    def refuse(_: Message) -> Message:
        raise RpcFailure(-32042, "not today")

    answers = {"elicitation/create": refuse, "sampling/createMessage": refuse}
    async with bridge.open(dict(answers)) as talker:
        for method in answers:
            params = call_of("gather", {"rounds": [[{"key": "a", "method": method}]]})
            answer = await talker.ask("tools/call", params)
            if bridge.place.server == "legacy":
                assert "not today" in text_of(answer)
            elif method == "elicitation/create":
                assert '"cancel"' in text_of(answer)
            else:
                assert answer["error"]["code"] == -32042


async def test_a_question_taken_back_is_taken_back_from_the_client(bridge: Bridge) -> None:
    if bridge.place.server == "modern":
        pytest.skip("a modern server cannot take a question back")
    async with bridge.open({"roots/list": None}) as talker:
        assert await talker.text("withdraw") == "withdrawn"
        asked = await talker.was_asked("roots/list")
        gone = await talker.hear("notifications/cancelled")
        assert gone["params"]["requestId"] == asked["id"]
