"""The gateway as an HTTP server: what it refuses, with which status, and that it stays well framed doing so."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import re

import pytest
from tests.contract.clients import MODERN, NO_MESSAGES, ModernClient, serving
from tests.contract.kit import manager_of, stdio_spec, until
from tests.contract.rawhttp import Connection

from crossfade.impls.errors import AddressInUse

PING = {"jsonrpc": "2.0", "id": 1, "method": "ping"}


@pytest.mark.parametrize("speaker", ["nobody", "legacy", "modern"])
@pytest.mark.parametrize(("body", "code"), [*NO_MESSAGES, (b"", -32700)])
async def test_a_body_that_is_no_json_rpc_is_a_400_and_the_connection_lives_on(
    variant: str, body: bytes, code: int, speaker: str
) -> None:
    """Whoever sends it: a session, or the headers of the other era, make it no message."""
    async with serving(variant) as served, served.legacy() as client:
        modern: dict[str, str | None] = {"MCP-Protocol-Version": MODERN, "Mcp-Method": "ping"}
        headers: dict[str, dict[str, str | None]] = {"nobody": {}, "legacy": client.headers(), "modern": modern}
        refused = await client.connection.post(body, headers[speaker])
        assert refused.status == 400
        assert refused.message["error"]["code"] == code
        assert (await client.connection.request("GET", "/healthz")).status == 200


async def test_what_is_no_message_is_refused_under_the_id_that_it_has(variant: str) -> None:
    async with serving(variant) as served, served.legacy() as client:
        for body in (b'{"jsonrpc":"1.0","id":"a","method":"ping"}', b'{"jsonrpc":"2.0","id":"a"}'):
            assert (await client.connection.post(body, client.headers())).message["id"] == "a"


@pytest.mark.parametrize(
    ("name", "value", "status"),
    [
        ("Host", "evil.example", 403),
        ("Host", "evil.example:80", 403),
        ("Host", "localhost.evil.example", 403),
        ("Host", "127.0.0.1.evil.example", 403),
        ("Origin", "http://evil.example", 403),
        ("Origin", "null", 403),
        ("Origin", "http://localhost.evil.example", 403),
        ("Host", "localhost", 200),
        ("Host", "LOCALHOST:1", 200),
        ("Host", "[::1]:8080", 200),
        ("Host", "gate.example", 200),
        ("Origin", "http://localhost:3000", 200),
        ("Origin", "https://127.0.0.1", 200),
        ("Origin", "https://app.example", 200),
    ],
)
@pytest.mark.relay_hazard("Host and Origin not checked")
async def test_a_foreign_host_or_origin_is_a_403(variant: str, name: str, value: str, status: int) -> None:
    """DNS rebinding: a web page must not reach a gateway on this machine."""
    allowed = {"allowed_hosts": ("gate.example",), "allowed_origins": ("https://app.example",)}
    async with serving(variant, **allowed) as served, served.connect() as connection:
        initialize = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {"protocolVersion": "2025-11-25"}}
        assert (await connection.post(initialize, {name: value})).status == status


async def test_a_request_without_host_is_a_400(variant: str) -> None:
    async with serving(variant) as served, served.connect() as connection:
        assert (await connection.post(PING, {"Host": None})).status == 400


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nowhere", 404),
        ("POST", "/", 404),
        ("PUT", "/mcp", 405),
        ("PATCH", "/mcp", 405),
        ("POST", "/healthz", 405),
        ("GET", "/healthz", 200),
        ("GET", "/metrics", 200),
    ],
)
async def test_paths_and_methods_have_their_status(variant: str, method: str, path: str, status: int) -> None:
    async with serving(variant) as served, served.connect() as connection:
        headers = {"Content-Length": "0"} if method != "GET" else {}
        answer = await connection.request(method, path, headers)
        assert answer.status == status
        if status == 405:
            assert answer.headers["allow"]


async def test_head_is_answered_without_a_body_and_the_connection_goes_on(variant: str) -> None:
    """RFC 9110 section 9.3.2: monitors ask so, and would take a body for the next answer."""

    def ask(port: int) -> list[tuple[int, bool, bytes]]:
        client = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        found = []
        for method, path in (("HEAD", "/healthz"), ("HEAD", "/metrics"), ("HEAD", "/mcp"), ("HEAD", "/nowhere")):
            client.request(method, path)
            answer = client.getresponse()
            found.append((answer.status, int(answer.headers["Content-Length"]) > 0, answer.read()))
        client.request("GET", "/healthz")
        answer = client.getresponse()
        found.append((answer.status, len(answer.read()) > 0, b""))
        client.close()
        return found

    async with serving(variant) as served:
        found = await asyncio.to_thread(ask, served.gateway.port)
    assert found == [(status, True, b"") for status in (200, 200, 405, 404, 200)]


@pytest.mark.parametrize(
    "lines",
    [
        "Content-Length: 5\r\nContent-Length: 6",
        "Content-Length: -1",
        "Content-Length: +5",
        "Content-Length: 5, 6",
        "Content-Length: 1e3",
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked, chunked\r\nX: y",
        "Bad Header: x\r\nContent-Length: 0",
        "Content-Length : 0",
    ],
)
async def test_ambiguous_framing_is_refused_and_the_connection_closed(variant: str, lines: str) -> None:
    """Request smuggling: whoever stands before us might have read it the other way."""
    async with serving(variant) as served, served.connect() as connection:
        await connection.send(f"POST /mcp HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n\r\n0\r\n\r\n".encode())
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionResetError):
            status, _ = await connection.response_head()
            assert status in (400, 501)
        assert await connection.is_closed_by_peer()


async def test_a_head_without_end_is_refused(variant: str) -> None:
    async with serving(variant) as served, served.connect() as connection:
        with contextlib.suppress(ConnectionError):
            await connection.send(b"POST /mcp HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 1_000_000)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            status, _ = await connection.response_head()
            assert status in (400, 431)
        assert await connection.is_closed_by_peer()


async def test_a_head_that_never_comes_is_not_waited_for(variant: str) -> None:
    async with serving(variant, header_timeout_ms=150) as served, served.connect() as connection:
        await connection.send(b"POST /mcp HTTP/1.1\r\nHost: local")
        async with asyncio.timeout(5):
            await connection.is_closed_by_peer()


@pytest.mark.parametrize("framing", ["length", "chunked"])
async def test_a_body_over_the_limit_is_a_413(variant: str, framing: str) -> None:
    async with serving(variant, stdio_spec("fix"), max_body_bytes=100_000) as served, served.connect() as connection:
        if framing == "length":
            await connection.send(connection.head("POST", "/mcp", {"Content-Length": "100001"}))
        else:
            head = connection.head("POST", "/mcp", {"Transfer-Encoding": "chunked"})
            with contextlib.suppress(ConnectionError):
                await connection.send(head + (b"2710\r\n" + b" " * 10_000 + b"\r\n") * 12)
        assert (await connection.response_head())[0] == 413


async def test_one_client_more_than_the_limit_gets_a_503_and_the_others_go_on(variant: str) -> None:
    async with serving(variant, stdio_spec("fix"), max_connections=2) as served, served.client("legacy") as one:
        async with served.client("modern") as two:
            assert await two.text("fix__echo", text="two") == "two"
            async with served.connect() as third:
                refused = await third.response()
                assert refused.status == 503
                assert b"; close some, or raise gateway.maxConnections" in refused.body
                assert await third.is_closed_by_peer()
            assert [await client.text("fix__echo", text="on") for client in (one, two)] == ["on", "on"]
        await until(lambda: served.manager.metrics().clients == 1, what="the end of the second connection")
        async with served.client("modern") as next_one:
            assert await next_one.text("fix__echo", text="in") == "in"


async def test_connection_close_is_honoured(variant: str) -> None:
    async with serving(variant) as served, served.connect() as connection:
        assert (await connection.request("GET", "/healthz", {"Connection": "close"})).status == 200
        assert await connection.is_closed_by_peer()


async def test_a_client_that_asks_first_is_told_to_continue(variant: str) -> None:
    async with serving(variant, stdio_spec("fix")) as served, served.client("modern") as client:
        head, body = client.encode("tools/call", {"name": "fix__echo", "arguments": {"text": "a"}}).split(
            b"\r\n\r\n", 1
        )
        await client.connection.send(head + b"\r\nExpect: 100-continue\r\n\r\n")
        assert (await client.connection.response_head())[0] == 100
        await client.connection.send(body)
        assert (await client.connection.response()).message["result"]["content"][0]["text"] == "a"


async def test_metrics_are_prometheus_text_that_counts(variant: str) -> None:
    async with serving(variant, stdio_spec("fix")) as served, served.client("modern") as client:
        await client.text("fix__echo", text="a")
        page = await client.connection.request("GET", "/metrics")
        assert page.headers["content-type"].startswith("text/plain")
        text = page.body.decode()
        sample = re.compile(r'[a-z_]+(\{([a-z_]+="[^"\n]*",?)*\})? [0-9.eE+-]+|[a-z_]+\{.*\} \+Inf')
        for line in text.splitlines():
            assert line.startswith(("# HELP ", "# TYPE ")) or sample.fullmatch(line), line
        assert re.search(r"^crossfade_requests_total(\{[^}]*\})? [1-9]", text, re.MULTILINE)
        assert re.search(r'server="fix"', text)


async def test_healthz_tells_of_servers(variant: str) -> None:
    async with serving(variant, stdio_spec("fix")) as served, served.connect() as connection:
        page = await connection.request("GET", "/healthz")
        assert page.status == 200
        assert "fix" in json.dumps(page.message)


async def test_a_port_in_use_is_a_clear_error(variant: str) -> None:
    async with serving(variant) as served, manager_of(variant) as other:
        with pytest.raises(AddressInUse, match=str(served.gateway.port)) as caught:
            await other.serve(port=served.gateway.port)
        assert "; " in caught.value.message


async def test_a_closed_gateway_frees_its_port_and_its_manager_works_on(variant: str) -> None:
    async with serving(variant, stdio_spec("fix")) as served:
        idle = await Connection.open(served.gateway)
        await served.gateway.close(drain_s=1)
        assert await idle.is_closed_by_peer()
        await idle.__aexit__()
        with pytest.raises(OSError, match=r"."):
            await asyncio.open_connection(served.gateway.host, served.gateway.port)
        assert (await served.manager.call_tool("fix__echo", {"text": "works"})).text == "works"
        again = await served.manager.serve(port=served.gateway.port)
        assert again.url == served.gateway.url


async def test_closing_a_gateway_lets_a_call_in_flight_finish(variant: str) -> None:
    async with serving(variant, stdio_spec("fix")) as served, served.client("modern") as client:
        assert isinstance(client, ModernClient)
        call = asyncio.create_task(client.text("fix__sleep", ms=200))
        await served.manager.call_tool("fix__seen", {"method": "sleeping", "wait_ms": 5000})
        closing = asyncio.create_task(served.gateway.close(drain_s=5))
        assert await call == "slept"
        await closing
