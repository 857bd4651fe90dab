"""Messages that are broken, on either face and from either side: an error to who sent it, and life goes on."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from tests.contract.bridging import ERAS, Bridge, Place
from tests.contract.clients import modern_meta
from tests.contract.kit import HttpServer, stdio_spec
from tests.contract.talker import Message
from tests.contract.talker_stdio import piped

from crossfade.impls import Config, GatewaySpec

DEEP = b"[" * 100_000 + b"]" * 100_000
CALL = {"jsonrpc": "2.0", "id": 1, "method": "tools/call"}


def call(**params: Any) -> bytes:
    return json.dumps({**CALL, "params": {"_meta": modern_meta(), **params}}).encode()


BROKEN: dict[str, bytes] = {
    "truncated": b'{"jsonrpc":"2.0","id":1,"method":"tools/ca',
    "twice on one line": b'{"jsonrpc":"2.0","id":1,"method":"ping"}{"jsonrpc":"2.0","id":1,"method":"ping"}',
    "not UTF-8": b'{"jsonrpc":"2.0","id":1,"method":"\xff\xfe"}',
    "half a surrogate": b'{"jsonrpc":"2.0","id":1,"method":"\\ud800"}',
    "deeply nested": b'{"jsonrpc":"2.0","id":1,"method":"ping","params":' + DEEP + b"}",
    "nested and nothing else": DEEP,
    "params are a list": b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":[1]}',
    "params are a number": b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":7}',
    "meta is a list": b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"fix__echo","_meta":[]}}',
    "name is a number": call(name=7),
    "name is missing": call(),
    "arguments are a list": call(name="fix__echo", arguments=[1]),
    "method is null": b'{"jsonrpc":"2.0","id":1,"method":null}',
    "id is a list": b'{"jsonrpc":"2.0","id":[1],"method":"ping"}',
    "id is true": b'{"jsonrpc":"2.0","id":true,"method":"ping"}',
    "a batch": b'[{"jsonrpc":"2.0","id":1,"method":"ping"}]',
    "NaN": b'{"jsonrpc":"2.0","id":NaN,"method":"ping"}',
    "a number without end": b'{"jsonrpc":"2.0","id":1' + b"0" * 5000 + b',"method":"ping"}',
    "cancelled without an id": b'{"jsonrpc":"2.0","method":"notifications/cancelled"}',
    "cancelled with a list": b'{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":[1]}}',
    "an answer to nothing": b'{"jsonrpc":"2.0","id":"never asked","result":{}}',
    "an answer of a wrong type": b'{"jsonrpc":"2.0","id":1,"result":[1],"error":7}',
    "a NUL": b'{"jsonrpc":"2.0","id":1,"method":"ping"}\x00',
}


def echo(text: str) -> bytes:
    return call(name="fix__echo", arguments={"text": text})


async def test_broken_lines_on_pipes_leave_the_next_one_whole(variant: str) -> None:
    """Each is answered with an error, or with nothing if it asked for nothing; the process lives through all."""
    async with piped(variant, Config(servers=(stdio_spec("fix"),))) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for name, line in BROKEN.items():
            process.stdin.write(line + b"\n" + echo(name).replace(b'"id": 1', b'"id": "next"') + b"\n")
            await process.stdin.drain()
            while b'"next"' not in (said := await process.stdout.readline()):
                assert b'"error"' in said or name == "a number without end", (name, said)
            assert json.loads(said)["result"]["content"][0]["text"] == name


async def test_a_line_over_the_limit_is_refused_without_being_kept(variant: str) -> None:
    """An error that says so, and the next line is whole again."""
    config = Config(servers=(stdio_spec("fix"),), gateway=GatewaySpec(max_body_bytes=1 << 20))
    async with piped(variant, config) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for size in (1 << 20, (1 << 20) + 1, 3 << 20):
            process.stdin.write(b"x" * size + b"\n" + echo("after it") + b"\n")
            await process.stdin.drain()
            refused = json.loads(await process.stdout.readline())
            assert refused["error"]["code"] == (-32700 if size == 1 << 20 else -32600), refused
            answer = json.loads(await process.stdout.readline())
            assert answer["result"]["content"][0]["text"] == "after it"


@pytest.mark.parametrize("era", ERAS)
async def test_broken_bodies_over_http_are_refused_and_nobody_else_notices(
    variant: str, era: str, shared_http: Callable[..., HttpServer]
) -> None:
    bridge = Bridge(variant, Place(era, "modern", "http", "http"), shared_http)
    async with bridge.serve() as served, served.client(era) as client:
        headers = {"modern": {"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/call"}, "legacy": {}}[era]
        for name, body in BROKEN.items():
            async with served.connect() as connection:
                session = getattr(client, "session", None)
                answer = await connection.post(body, {**headers, "Mcp-Session-Id": session})
                assert answer.status in (200, 202, 400, 413), (name, answer.status)
                if answer.status == 200:
                    assert b'"jsonrpc"' in answer.body
            assert await client.text("fix__echo", text=name) == name


SAID: list[Any] = [
    {"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": [1], "progress": "x"}},
    {"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": "nobody's", "progress": 1}},
    {"jsonrpc": "2.0", "method": "notifications/progress"},
    {"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": 7}},
    {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": "never asked"}},
    {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {}},
    {"jsonrpc": "2.0", "method": "notifications/resources/updated", "params": {}},
    {"jsonrpc": "2.0", "method": "notifications/x-unknown", "params": {"deep": [[[[]]]]}},
    {"jsonrpc": "2.0", "method": "notifications/tools/list_changed", "params": {"_meta": {}}},
]


@pytest.mark.parametrize("upstream", ["stdio", "http"])
@pytest.mark.parametrize("server", ERAS)
@pytest.mark.parametrize("client", ERAS)
async def test_nonsense_from_a_server_harms_neither_the_call_nor_the_client(
    variant: str, client: str, server: str, upstream: str, shared_http: Callable[..., HttpServer]
) -> None:
    bridge = Bridge(variant, Place(client, server, "http", upstream), shared_http)
    async with bridge.open() as talker:
        for message in SAID:
            assert await talker.text("raw", messages=[message]) == "said"
        assert await talker.text("raw", messages=SAID) == "said"
        assert await talker.text("echo", text="well") == "well"


@pytest.mark.parametrize("upstream", ["stdio", "http"])
async def test_a_broken_round_of_a_modern_server_is_an_error_to_a_legacy_client(
    variant: str, upstream: str, shared_http: Callable[..., HttpServer]
) -> None:
    bridge = Bridge(variant, Place("legacy", "modern", "http", upstream), shared_http)
    async with bridge.open({"roots/list": {"roots": []}}) as talker:
        rounds: tuple[Message, ...] = (
            {"inputRequests": [1]},
            {"inputRequests": {"a": 7}},
            {"inputRequests": {"a": {"params": {}}}},
            {"inputRequests": {"a": {"method": "x/unknown"}}},
            {"requestState": 7},
            {},
        )
        for broken in rounds:
            answer = await talker.ask("tools/call", {"name": "fix__round", "arguments": broken})
            assert "error" in answer, (broken, answer)
            assert await talker.text("echo", text="well") == "well"
