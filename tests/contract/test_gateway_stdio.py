"""The gateway's other face: one client on stdin and stdout of its own process."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from tests.contract.clients import META, MODERN, NO_MESSAGES, modern_meta
from tests.contract.kit import stdio_spec
from tests.contract.talker_stdio import piped

from crossfade.impls import Config


class Peer:
    """The client's end of the pipes."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def send(self, message: object) -> None:
        assert self.process.stdin is not None
        data = message if isinstance(message, bytes) else json.dumps(message).encode()
        self.process.stdin.write(data + b"\n")
        await self.process.stdin.drain()

    async def receive(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = await self.process.stdout.readline()
        message: dict[str, Any] = json.loads(line)
        return message

    async def request(self, method: str, params: dict[str, Any] | None = None, *, id: Any = 1) -> dict[str, Any]:  # noqa: A002
        await self.send({"jsonrpc": "2.0", "id": id, "method": method, "params": params or {}})
        while True:
            message = await self.receive()
            if "id" in message and "method" not in message:
                assert message["id"] == id
                return message


@asynccontextmanager
async def talking_to(variant: str) -> AsyncIterator[Peer]:
    async with piped(variant, Config(servers=(stdio_spec("fix"),))) as process:
        yield Peer(process)


async def test_a_legacy_client_is_served(variant: str) -> None:
    async with talking_to(variant) as peer:
        params = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "c", "version": "1"}}
        hello = await peer.request("initialize", params)
        assert hello["result"]["protocolVersion"] == "2025-06-18"
        await peer.send({"jsonrpc": "2.0", "method": "notifications/initialized"})
        tools = (await peer.request("tools/list"))["result"]["tools"]
        assert "fix__echo" in {tool["name"] for tool in tools}
        called = await peer.request("tools/call", {"name": "fix__echo", "arguments": {"text": "é" * 100_000}}, id="x")
        assert called["result"]["content"][0]["text"] == "é" * 100_000
        assert (await peer.request("no/such"))["error"]["code"] == -32601


async def test_a_modern_client_is_served(variant: str) -> None:
    async with talking_to(variant) as peer:
        found = await peer.request("server/discover", {"_meta": modern_meta()})
        assert MODERN in found["result"]["supportedVersions"]
        params = {"name": "fix__echo", "arguments": {"text": "a"}, "_meta": modern_meta()}
        assert (await peer.request("tools/call", params))["result"]["content"][0]["text"] == "a"
        unknown = modern_meta(**{META + "protocolVersion": "2031-01-01"})
        assert (await peer.request("tools/list", {"_meta": unknown}))["error"]["code"] == -32022


async def test_answers_come_as_they_are_ready_and_cancelling_stops_one(variant: str) -> None:
    async with talking_to(variant) as peer:
        slow = {"name": "fix__never", "arguments": {}, "_meta": modern_meta()}
        await peer.send({"jsonrpc": "2.0", "id": "slow", "method": "tools/call", "params": slow})
        quick = {"name": "fix__echo", "arguments": {"text": "quick"}, "_meta": modern_meta()}
        assert (await peer.request("tools/call", quick, id=2))["result"]["content"][0]["text"] == "quick"
        await peer.send({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": "slow"}})
        asked = {"name": "fix__seen", "arguments": {"method": "stopped", "wait_ms": 5000}, "_meta": modern_meta()}
        seen = await peer.request("tools/call", asked, id=3)
        assert json.loads(seen["result"]["content"][0]["text"])


def calling(tool: str, request_id: str, **arguments: Any) -> dict[str, Any]:
    params = {"name": f"fix__{tool}", "arguments": arguments, "_meta": modern_meta()}
    return {"jsonrpc": "2.0", "id": request_id, "method": "tools/call", "params": params}


def cancelling(request_id: str) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": request_id}}


async def seen(peer: Peer, method: str, mark: str) -> list[Any]:
    """What the server noted of a call with that mark, as soon as there is something."""
    asked = {"method": method, "mark": mark, "wait_ms": 5000}
    params = {"name": "fix__seen", "arguments": asked, "_meta": modern_meta()}
    found = await peer.request("tools/call", params, id=f"seen {method} {mark}")
    notes: list[Any] = json.loads(found["result"]["content"][0]["text"])
    return notes


async def test_a_second_request_with_an_id_in_flight_takes_nothing_from_the_first(variant: str) -> None:
    """Answers and cancellations name the id alone: two with one could not be told apart."""
    async with talking_to(variant) as peer:
        await peer.send(calling("never", "twice", mark="first"))
        assert await seen(peer, "sleeping", "first")
        await peer.send(calling("sleep", "twice", mark="second"))
        refused = await peer.receive()
        assert refused["id"] is None, "with the id it would be the answer to the first"
        assert refused["error"]["code"] == -32600
        assert 'id "twice"' in refused["error"]["message"]
        assert "send it again" in refused["error"]["message"]
        await peer.send(cancelling("twice"))
        assert await seen(peer, "stopped", "first")
        await peer.send(calling("echo", "twice", text="free"))
        answer = await peer.receive()
        assert (answer["id"], answer["result"]["content"][0]["text"]) == ("twice", "free")


async def test_an_id_that_was_cancelled_and_is_used_again_can_be_cancelled_again(variant: str) -> None:
    """The end of the first request, a moment later, does not make the second one unknown."""
    async with talking_to(variant) as peer:
        burst = calling("never", "again", mark="one"), cancelling("again"), calling("never", "again", mark="two")
        await peer.send(b"\n".join(json.dumps(message).encode() for message in burst))
        assert await seen(peer, "sleeping", "two")
        await peer.send(cancelling("again"))
        assert await seen(peer, "stopped", "two")


async def test_a_broken_line_is_an_error_and_the_next_is_served(variant: str) -> None:
    async with talking_to(variant) as peer:
        await peer.send(b"{not json")
        assert (await peer.receive())["error"]["code"] == -32700
        params = {"name": "fix__echo", "arguments": {"text": "a"}, "_meta": modern_meta()}
        assert (await peer.request("tools/call", params))["result"]["content"][0]["text"] == "a"


HELLO = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "c", "version": "1"}}


@pytest.mark.parametrize("era", ["legacy", "modern"])
async def test_a_line_that_is_no_json_rpc_is_an_error_in_any_era(variant: str, era: str) -> None:
    async with talking_to(variant) as peer:
        if era == "legacy":
            await peer.request("initialize", HELLO)
        for line, code in NO_MESSAGES:
            await peer.send(line)
            assert (await peer.receive())["error"]["code"] == code, line
        meta = {"_meta": modern_meta()} if era == "modern" else {}
        params = {"name": "fix__echo", "arguments": {"text": "a"}, **meta}
        assert (await peer.request("tools/call", params))["result"]["content"][0]["text"] == "a"


@pytest.mark.parametrize(
    "meta",
    [
        {META + "protocolVersion": MODERN},
        {META + "protocolVersion": MODERN, META + "clientCapabilities": "none"},
    ],
    ids=str,
)
async def test_a_request_without_its_capabilities_is_32602(variant: str, meta: dict[str, Any]) -> None:
    async with talking_to(variant) as peer:
        assert (await peer.request("tools/list", {"_meta": meta}))["error"]["code"] == -32602


async def test_a_handshake_without_params_is_32602_and_leaves_the_session(variant: str) -> None:
    async with talking_to(variant) as peer:
        assert (await peer.request("ping"))["result"] == {}, "it may come before the handshake"
        await peer.request("initialize", HELLO)
        await peer.send({"jsonrpc": "2.0", "id": "bare", "method": "initialize"})
        refused = await peer.receive()
        assert (refused["id"], refused["error"]["code"]) == ("bare", -32602)
        assert (await peer.request("tools/list"))["result"]["tools"]


@pytest.mark.parametrize(
    "told",
    [
        {"method": "notifications/initialized"},
        {"method": "notifications/x", "params": {"_meta": {META + "protocolVersion": "2031-01-01"}}},
        {"method": "initialize", "params": HELLO},
        {"id": 1, "result": {}},
    ],
    ids=str,
)
async def test_what_asks_for_no_answer_gets_none(variant: str, told: dict[str, Any]) -> None:
    """A client could not tell what an error without id is about (basic/index, "Notifications")."""
    async with talking_to(variant) as peer:
        await peer.send({"jsonrpc": "2.0", **told})
        await peer.send({"jsonrpc": "2.0", "id": "next", "method": "ping"})
        assert (await peer.receive())["id"] == "next"


async def test_what_is_under_way_when_stdin_ends_is_answered(variant: str) -> None:
    """Also a last line that has no end: a script pipes its requests in and reads what comes."""
    calls = [
        {"name": "fix__sleep", "arguments": {"ms": 300}, "_meta": modern_meta()},
        {"name": "fix__echo", "arguments": {"text": "last"}, "_meta": modern_meta()},
    ]
    async with talking_to(variant) as peer:
        lines = [
            json.dumps({"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params})
            for number, params in enumerate(calls)
        ]
        assert peer.process.stdin is not None
        assert peer.process.stdout is not None
        peer.process.stdin.write("\n".join(lines).encode())
        peer.process.stdin.write_eof()
        said = [json.loads(line) for line in (await peer.process.stdout.read()).splitlines()]
    assert {answer["id"] for answer in said} == {0, 1}
    assert all("result" in answer for answer in said), said


async def test_what_would_not_end_ends_soon_after_stdin(variant: str) -> None:
    """A call for minutes, and a subscription for ever."""
    listen = {"notifications": {"toolsListChanged": True}, "_meta": modern_meta()}
    sleep = {"name": "fix__sleep", "arguments": {"ms": 60_000}, "_meta": modern_meta()}
    async with talking_to(variant) as peer:
        await peer.send({"jsonrpc": "2.0", "id": "listen", "method": "subscriptions/listen", "params": listen})
        assert (await peer.receive())["method"] == "notifications/subscriptions/acknowledged"
        await peer.send({"jsonrpc": "2.0", "id": "sleep", "method": "tools/call", "params": sleep})
