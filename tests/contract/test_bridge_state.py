"""A ``requestState`` that comes back wrong touches nothing: not its call, not the server, not another client."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from tests.contract.bridging import Bridge, Place, unique
from tests.contract.kit import HttpServer, until
from tests.contract.talker import REPLIES, Message, call_of
from tests.contract.talker_http import HttpTalker

ASKING = {"rounds": [[{"key": "a", "method": "roots/list"}, {"key": "b", "method": "elicitation/create"}]]}
CAPABILITIES: Message = {"roots": {}, "elicitation": {}}


@pytest.fixture
def bridge(variant: str, shared_http: Callable[..., HttpServer]) -> Bridge:
    return Bridge(variant, Place("modern", "legacy", "http", "http"), shared_http)


class Suspended:
    """A call of ``alice`` that waits for her answers, and ``mallory`` at the same gateway."""

    def __init__(self, alice: HttpTalker, mallory: HttpTalker, first: Message, params: Message) -> None:
        self.alice, self.mallory, self.first, self.params = alice, mallory, first, params

    @property
    def state(self) -> str:
        return str(self.first["requestState"])

    def responses(self) -> Message:
        """The right ones, by the gateway's keys."""
        requests = self.first["inputRequests"]
        return {key: REPLIES[request["method"]] for key, request in requests.items()}

    async def retry(self, talker: HttpTalker | None = None, **changed: Any) -> Message:
        params = {**self.params, "requestState": self.state, "inputResponses": self.responses(), **changed}
        return await (await (talker or self.alice).start("tools/call", params)).answer()

    async def is_still_there(self) -> None:
        """The right retry gets the right answer."""
        answer = await self.retry()
        text = answer["result"]["content"][0]["text"]
        assert json.loads(text) == [{"a": REPLIES["roots/list"], "b": REPLIES["elicitation/create"]}]


@asynccontextmanager
async def suspended(bridge: Bridge, **gateway: Any) -> AsyncIterator[Suspended]:
    params = call_of("gather", {**ASKING, "wait_ms": 8000, "mark": unique("mark")})
    async with (
        bridge.serve(**gateway) as served,
        bridge.talker(served.gateway, capabilities=CAPABILITIES, caller="alice") as alice,
        bridge.talker(served.gateway, capabilities=CAPABILITIES, caller="mallory") as mallory,
    ):
        first = (await (await alice.start("tools/call", params)).answer())["result"]
        assert first["resultType"] == "input_required"
        assert len(first["inputRequests"]) == 2, "what is asked together comes in one round"
        yield Suspended(alice, mallory, first, params)


def is_refused(answer: Message) -> None:
    assert answer["error"]["code"] == -32602, answer
    assert "requestState" in answer["error"]["message"]


def flipped(state: str, at: int) -> str:
    raw = bytearray(base64.urlsafe_b64decode(state + "=" * (-len(state) % 4)))
    raw[at] ^= 1
    return base64.urlsafe_b64encode(bytes(raw)).rstrip(b"=").decode()


@pytest.mark.parametrize("at", [0, 1, 17, 20, 21, 28, 29, 45, 61, -1])
async def test_one_bit_changed_anywhere_is_refused(bridge: Bridge, at: int) -> None:
    async with suspended(bridge) as call:
        is_refused(await call.retry(requestState=flipped(call.state, at)))
        await call.is_still_there()


@pytest.mark.parametrize(
    "forged",
    ["", "x", "AAAA", "=" * 100, "é😀", "A" * 100_000, 7, None, ["a"], {"a": 1}, True],
    ids=lambda forged: repr(forged)[:20],
)
async def test_a_state_that_is_none_is_refused(bridge: Bridge, forged: Any) -> None:
    async with suspended(bridge) as call:
        answer = await call.retry(requestState=forged)
        assert answer["error"]["code"] == -32602, answer
        await call.is_still_there()


async def test_a_state_cut_or_with_something_behind_it_is_refused(bridge: Bridge) -> None:
    async with suspended(bridge) as call:
        for state in (call.state[:-1], call.state[:-4], call.state + "AAAA", call.state + "=", call.state * 2):
            is_refused(await call.retry(requestState=state))
        await call.is_still_there()


async def test_a_state_of_somebody_else_is_refused_and_answers_nothing_for_them(bridge: Bridge) -> None:
    async with suspended(bridge) as call:
        is_refused(await call.retry(call.mallory))
        await call.is_still_there()


@pytest.mark.parametrize(
    "changed",
    [
        {"arguments": {"rounds": []}},
        {"name": "fix__echo"},
        {"arguments": {**ASKING, "wait_ms": 9000}},
    ],
    ids=["other arguments", "other tool", "one number"],
)
async def test_a_state_on_another_request_is_refused(bridge: Bridge, changed: Message) -> None:
    async with suspended(bridge) as call:
        is_refused(await call.retry(**changed))
        await call.is_still_there()


async def test_a_state_is_good_once(bridge: Bridge) -> None:
    async with suspended(bridge) as call:
        await call.is_still_there()
        is_refused(await call.retry())


async def test_a_state_of_another_gateway_is_refused(bridge: Bridge) -> None:
    async with suspended(bridge) as here, suspended(bridge) as there:
        is_refused(await there.retry(requestState=here.state))
        await here.is_still_there()
        await there.is_still_there()


async def test_a_call_that_nobody_comes_back_for_ends_and_its_state_with_it(bridge: Bridge) -> None:
    async with suspended(bridge, input_timeout_ms=300) as call:
        assert await call.mallory.json("seen", method="(gave up)", mark=call.params["arguments"]["mark"], wait_ms=5000)
        is_refused(await call.retry())


async def test_missing_answers_are_asked_for_again_and_others_ignored(bridge: Bridge) -> None:
    async with suspended(bridge) as call:
        keys = list(call.first["inputRequests"])
        answer = await call.retry(inputResponses={keys[0]: call.responses()[keys[0]], "x-unknown": {"a": 1}})
        again = answer["result"]
        assert again["resultType"] == "input_required"
        assert keys[1] in again["inputRequests"]
        call.first = {**again, "inputRequests": {**call.first["inputRequests"], **again["inputRequests"]}}
        await call.is_still_there()


@pytest.mark.parametrize("responses", [7, "text", [1], {"input-1": 7}, {"input-1": None}], ids=repr)
async def test_answers_of_the_wrong_type_harm_nobody(bridge: Bridge, responses: Any) -> None:
    async with suspended(bridge) as call:
        answer = await call.retry(inputResponses=responses)
        assert "error" in answer or answer["result"]["resultType"] in ("input_required", "complete"), answer
        assert await call.mallory.text("echo", text="well") == "well"


async def test_nothing_is_held_when_all_is_answered(bridge: Bridge) -> None:
    async with bridge.serve() as served:
        async with bridge.talker(served.gateway, {"roots/list": REPLIES["roots/list"]}) as talker:
            rounds = [[{"key": "a", "method": "roots/list"}]] * 3
            assert len(await talker.json("gather", rounds=rounds)) == 3
        await until(lambda: served.manager.metrics().in_flight == 0, what="the end of the calls")
