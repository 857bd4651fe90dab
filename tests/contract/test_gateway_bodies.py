"""However a request is cut, framed or sized, it is the same request; however large, it is not held in memory twice."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any, cast

import pytest
from tests.contract.clients import Client, LegacyClient, serving
from tests.contract.kit import HttpServer, http_spec, stdio_spec

from crossfade.impls import ServerSpec

MIB = 1 << 20
UPSTREAMS = ["stdio-legacy", "http-modern", "http-legacy"]


@pytest.fixture(params=UPSTREAMS)
def upstream(request: pytest.FixtureRequest, shared_http: Callable[..., HttpServer]) -> ServerSpec:
    transport, _, era = request.param.partition("-")
    return stdio_spec("fix", era=era) if transport == "stdio" else http_spec(shared_http(era=era))


def echo(client: Client, text: str, *, id: int = 1) -> bytes:  # noqa: A002 -- the field's name
    return client.encode("tools/call", {"name": "fix__echo", "arguments": {"text": text}}, id=id)


@pytest.mark.parametrize("era", ["modern", "legacy"])
@pytest.mark.parametrize("size", [0, 1, 15_000, 16_384, 70_000, MIB])
async def test_bodies_of_any_size_pass_both_ways(variant: str, era: str, size: int, upstream: ServerSpec) -> None:
    async with serving(variant, upstream) as served, served.client(era) as client:
        text = ("é" + "0123456789" * (size // 10 + 1))[:size]
        async with asyncio.timeout(15):
            assert await client.text("fix__echo", text=text) == text
            assert await client.text("fix__echo", text="small after large") == "small after large"


async def test_a_large_answer_to_a_small_request_comes_whole(variant: str, upstream: ServerSpec) -> None:
    async with serving(variant, upstream) as served, served.client("legacy") as client:
        assert len(await client.text("fix__huge", bytes=3 * MIB)) == 3 * MIB


@pytest.mark.parametrize("era", ["modern", "legacy"])
async def test_a_request_byte_by_byte_is_the_same_request(variant: str, era: str, upstream: ServerSpec) -> None:
    async with serving(variant, upstream) as served, served.client(era) as client:
        for byte in echo(client, "drip"):
            await client.connection.send(bytes([byte]))
            await asyncio.sleep(0)  # one segment each: the gateway has TCP_NODELAY's word for it, not ours
        assert (await client.connection.response()).message["result"]["content"][0]["text"] == "drip"


async def test_a_request_cut_anywhere_is_the_same_request(variant: str, shared_http: Callable[..., HttpServer]) -> None:
    async with serving(variant, http_spec(shared_http(era="modern"))) as served, served.client("modern") as client:
        request = echo(client, "cut")
        for cut in range(1, len(request), 7):
            await client.connection.send(request[:cut])
            await asyncio.sleep(0.001)
            await client.connection.send(request[cut:])
            assert (await client.connection.response()).message["result"]["content"][0]["text"] == "cut"


async def test_pipelined_requests_are_answered_in_order(variant: str, upstream: ServerSpec) -> None:
    async with serving(variant, upstream) as served, served.client("modern") as client:
        slow = client.encode("tools/call", {"name": "fix__sleep", "arguments": {"ms": 50}}, id=1)
        await client.connection.send(slow + b"".join(echo(client, f"p{n}", id=n) for n in range(2, 12)))
        answers = [(await client.connection.response()).message for _ in range(11)]
        assert [answer["id"] for answer in answers] == list(range(1, 12))
        assert [answer["result"]["content"][0]["text"] for answer in answers[1:]] == [f"p{n}" for n in range(2, 12)]


def chunked(client: Client, request: bytes, sizes: list[int]) -> bytes:
    """The same request with its body in chunks."""
    head, _, body = request.partition(b"\r\n\r\n")
    lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"content-length")]
    parts, at = [], 0
    for size in [*sizes, len(body)]:
        part = body[at : at + size]
        if part:
            parts.append(b"%x;ext=1\r\n%s\r\n" % (len(part), part))
        at += size
    return (
        b"\r\n".join([*lines, b"Transfer-Encoding: chunked", b"", b""]) + b"".join(parts) + b"0\r\nX-Trailer: y\r\n\r\n"
    )


@pytest.mark.parametrize("size", [5, 200_000])
@pytest.mark.parametrize("era", ["modern", "legacy"])
async def test_a_chunked_body_is_the_same_body(variant: str, era: str, size: int, upstream: ServerSpec) -> None:
    async with serving(variant, upstream) as served, served.client(era) as client:
        text = "x" * size
        await client.connection.send(chunked(client, echo(client, text), [1, 7, 50, 1000]))
        assert (await client.connection.response()).message["result"]["content"][0]["text"] == text
        await client.connection.send(echo(client, "next"))
        assert (await client.connection.response()).message["result"]["content"][0]["text"] == "next"


@pytest.mark.parametrize(
    "order",
    [
        ("jsonrpc", "id", "method", "params"),
        ("params", "method", "id", "jsonrpc"),
        ("id", "params", "jsonrpc", "method"),
        ("method", "x-unknown", "params", "id", "jsonrpc"),
    ],
    ids="-".join,
)
@pytest.mark.parametrize("size", [10, 100_000])
@pytest.mark.parametrize("era", ["modern", "legacy"])
async def test_the_order_of_members_does_not_matter(
    variant: str, era: str, size: int, order: tuple[str, ...], upstream: ServerSpec
) -> None:
    """``params`` first and large means that id and method come behind 100 KB: slower, not wrong."""
    async with serving(variant, upstream) as served, served.client(era) as client:
        head, _, body = echo(client, "y" * size, id=77).partition(b"\r\n\r\n")
        members: dict[str, Any] = {**json.loads(body), "x-unknown": [{"id": 5, "method": "trap"}]}
        members["params"] = dict(reversed(members["params"].items()))
        text = json.dumps({name: members[name] for name in order}, indent=1).encode()
        lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"content-length")]
        request = b"\r\n".join([*lines, b"Content-Length: %d" % len(text), b"", b""]) + text
        await client.connection.send(request)
        answer = (await client.connection.response()).message
        assert answer["id"] == 77
        assert answer["result"]["content"][0]["text"] == "y" * size


@pytest.mark.parametrize("name", ["fix__\\u0065cho", "\\u0066ix__echo"])
async def test_a_name_written_with_escapes_is_the_same_name(variant: str, name: str, upstream: ServerSpec) -> None:
    async with serving(variant, upstream) as served, served.client("legacy") as client:
        head, _, body = echo(client, "escaped").partition(b"\r\n\r\n")
        text = body.replace(b"fix__echo", name.encode())
        lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"content-length")]
        await client.connection.send(b"\r\n".join([*lines, b"Content-Length: %d" % len(text), b"", b""]) + text)
        assert (await client.connection.response()).message["result"]["content"][0]["text"] == "escaped"


async def test_arguments_that_look_like_an_envelope_are_left_alone(variant: str, upstream: ServerSpec) -> None:
    trap = '"id":2,"method":"tools/list","params":{"name":"fix__fail"}} \\" {"_meta": {"name": "x"'
    async with serving(variant, upstream) as served, served.client("modern") as client:
        assert await client.text("fix__echo", text=trap, name="fix__fail", id=5, _meta={"a": 1}) == trap
        called = await client.call("fix__echo", text=trap, name="fix__fail", id=5, _meta={"a": 1})
        assert called["structuredContent"] == {"text": trap, "name": "fix__fail", "id": 5, "_meta": {"a": 1}}


async def test_a_client_that_does_not_read_stops_nobody_else(variant: str, upstream: ServerSpec) -> None:
    async with serving(variant, upstream) as served, served.client("modern") as lazy, served.client("modern") as other:
        lazy.connection.writer.transport.set_write_buffer_limits(1 << 26)
        big = lazy.encode("tools/call", {"name": "fix__huge", "arguments": {"bytes": 8 * MIB}})
        transport = cast(asyncio.Transport, lazy.connection.writer.transport)
        transport.pause_reading()
        await lazy.connection.send(big)
        async with asyncio.timeout(10):
            for number in range(20):
                assert await other.text("fix__echo", text=f"{number}") == f"{number}"


async def in_chunks(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, piece: int) -> None:
    """A modern server whose answers are JSON in chunks, as a web server writes that does not know their length."""
    results: dict[str, Any] = {
        "server/discover": {"supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}},
        "tools/list": {"tools": [{"name": "echo", "inputSchema": {"type": "object"}}]},
        "tools/call": {"content": [{"type": "text", "text": "in chunks"}]},
    }
    try:
        while head := await reader.readuntil(b"\r\n\r\n"):
            length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
            request = json.loads(await reader.readexactly(length))
            hints = {"resultType": "complete", "ttlMs": 0, "cacheScope": "private"}
            result = {**results[request["method"]], **hints}
            body = json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": result}).encode()
            answer = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
            answer += b"%x;kept=yes\r\n%s\r\n5\r\n%s\r\n0\r\n\r\n" % (len(body) - 5, body[:-5], body[-5:])
            for at in range(0, len(answer), piece):
                writer.write(answer[at : at + piece])
                await writer.drain()
                await asyncio.sleep(0)
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


@pytest.mark.parametrize("piece", [1, 150, 1 << 20])
async def test_a_json_answer_in_chunks_is_an_answer(variant: str, piece: int) -> None:
    server = await asyncio.start_server(lambda reader, writer: in_chunks(reader, writer, piece), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, serving(variant, ServerSpec("fix", urls=(f"http://127.0.0.1:{port}/mcp",))) as served:
        for era in ("modern", "legacy"):
            async with served.client(era) as client, asyncio.timeout(10):
                assert await client.text("fix__echo") == "in chunks"


TWICE = {
    "name": b'"name":"fix__echo","name":"fix__refuse","arguments":{}',
    "escaped": b'"name":"fix__echo","n\\u0061me":"fix__refuse","arguments":{}',
    "long": b'"name":"fix__echo","arguments":{"text":"' + b"x" * 4000 + b'"},"name":"fix__refuse"',
}


@pytest.mark.parametrize("how", TWICE)
async def test_a_name_that_stands_twice_reaches_no_server(variant: str, how: str, upstream: ServerSpec) -> None:
    """Two readers that choose differently would let a call pass that a filter has refused."""
    async with serving(variant, upstream) as served, await LegacyClient.open(served.gateway) as client:
        body = b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{%b}}' % TWICE[how]
        headers = {"Mcp-Session-Id": client.session, "MCP-Protocol-Version": "2025-11-25"}
        answer = await client.connection.post(body, headers)
        assert (answer.status, answer.message["error"]["code"]) == (400, -32600)
        assert await client.text("fix__echo", text="on") == "on"


REST = b'"arguments":{"text":"%b","name":"mine","deep":[{"id":5,"method":"x","params":{"name":"y"}}]}' % (
    b"x" * 300_000
)
CALL = b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{%b}%b'
BEHIND = {
    "name": (-32600, CALL % (b'"name":"fix__echo",%b,"name":"refuse"' % REST, b"}")),
    "escaped": (-32600, CALL % (b'"name":"fix__echo",%b,"n\\u0061me":"refuse"' % REST, b"}")),
    "params": (-32600, CALL % (b'"name":"fix__echo",%b' % REST, b',"params":{"name":"refuse"}}')),
    "cut": (-32700, CALL % (b'"name":"fix__echo",%b' % REST, b"  ")),
    "a uri in front": (-32602, CALL % (b'"uri":"fix__echo",%b,"name":"refuse"' % REST, b"}")),
    "another jsonrpc in front": (-32600, (CALL % (b'"name":"fix__echo",%b' % REST, b"}")).replace(b'"2.0"', b'"1.0"')),
    "another jsonrpc behind": (
        -32600,
        b"{" + CALL[17:] % (b'"name":"fix__echo",%b' % REST, b',"jsonrpc":"1.0"}'),
    ),
}


@pytest.mark.parametrize("piece", [1 << 30, 100_000, 4093])
@pytest.mark.parametrize("how", BEHIND)
async def test_a_second_name_behind_a_long_body_reaches_no_server(
    variant: str, how: str, piece: int, fresh_http: Callable[..., HttpServer]
) -> None:
    """What is passed on while it arrives was routed and filtered by its beginning; its rest may not say otherwise."""
    code, body = BEHIND[how]
    server = fresh_http(era="legacy")
    async with serving(variant, http_spec(server)) as served, await LegacyClient.open(served.gateway) as client:
        assert await client.text("fix__echo", text="the way is known") == "the way is known"
        headers = {"Mcp-Session-Id": client.session, "MCP-Protocol-Version": "2025-11-25"}
        request = client.connection.encode(body, headers)
        for at in range(0, len(request), piece):
            await client.connection.send(request[at : at + piece])
            await asyncio.sleep(0)
        assert (await client.connection.response()).message["error"]["code"] == code
    assert [call["params"]["name"] for call in server.log("tools/call")] == ["echo"]


@pytest.mark.parametrize("era", ["modern", "legacy"])
@pytest.mark.parametrize("size", [20_000, 300_000])
async def test_keys_of_an_envelope_inside_long_arguments_are_left_alone(
    variant: str, era: str, size: int, upstream: ServerSpec
) -> None:
    """Deep, in strings, with escapes, in thousands: they are the tool's own."""
    row = {"name": 'a "name":{', "id": [{"params": {"name": "\\", "_meta": {}}}], "method": '\\"}', "uri": "]}"}
    arguments = {"text": "x" * size, "rows": [row] * (size // 100), "name": "mine", "params": row, "_meta": {"id": 1}}
    async with serving(variant, upstream) as served, served.client(era) as client, asyncio.timeout(15):
        for _ in range(2):
            called = await client.call("fix__echo", **arguments)
            assert called["structuredContent"] == arguments
