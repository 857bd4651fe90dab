"""The gateway towards legacy clients: handshake, sessions, and their end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from tests.contract.clients import LegacyClient, modern_meta, serving
from tests.contract.kit import HttpServer, http_spec, stdio_spec, until
from tests.contract.rawhttp import Connection

from crossfade.impls import ServerSpec


@pytest.mark.parametrize("version", ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"])
async def test_the_handshake_agrees_on_the_revision_asked_for(variant: str, version: str) -> None:
    async with serving(variant, stdio_spec("fix")) as served, served.legacy(version) as client:
        result = await client.initialize()
        assert result["protocolVersion"] == version
        assert {"tools", "resources", "prompts", "completions"} <= result["capabilities"].keys()
        assert result["serverInfo"]["name"]
        assert client.session
        assert all(0x21 <= ord(character) <= 0x7E for character in client.session)
        assert await client.result("ping") == {}
        assert await client.text("fix__echo", text=version) == version


async def test_an_unknown_revision_is_answered_with_the_newest_legacy_one(variant: str) -> None:
    async with serving(variant) as served, served.legacy("2031-01-01") as client:
        params = {"protocolVersion": "2031-01-01", "capabilities": {}, "clientInfo": {"name": "c", "version": "1"}}
        assert (await client.result("initialize", params))["protocolVersion"] == "2025-11-25"


async def test_the_version_header_has_no_say_in_the_handshake(variant: str) -> None:
    """A client owes it from the next request on; what the two agree on stands in the body."""
    async with serving(variant) as served, served.connect() as connection:
        params = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "c", "version": "1"}}
        hello = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params}
        answer = await connection.post(hello, {"MCP-Protocol-Version": "1999-01-01"})
        assert answer.status == 200
        assert answer.message["result"]["protocolVersion"] == "2025-06-18"
        assert answer.headers["mcp-session-id"]


async def test_initialize_is_legacy_whatever_its_meta_says(variant: str) -> None:
    async with serving(variant) as served, served.connect() as connection:
        hello = {
            "jsonrpc": "2.0",
            "id": 1,
            "method": "initialize",
            "params": {"protocolVersion": "2025-06-18", "_meta": modern_meta()},
        }
        answer = await connection.post(hello)
        assert (answer.status, answer.message["result"]["protocolVersion"]) == (200, "2025-06-18")


async def test_a_handshake_without_params_is_32602_and_makes_no_session(variant: str) -> None:
    async with serving(variant) as served, served.connect() as connection:
        answer = await connection.post({"jsonrpc": "2.0", "id": 1, "method": "initialize"})
        assert (answer.status, answer.message["error"]["code"]) == (200, -32602)
        assert "mcp-session-id" not in answer.headers
        assert served.manager.metrics().sessions == 0


async def test_a_handshake_that_is_no_request_is_a_400(variant: str) -> None:
    async with serving(variant) as served, served.legacy() as client:
        hello = {"jsonrpc": "2.0", "method": "initialize", "params": {"protocolVersion": "2025-06-18"}}
        assert (await client.connection.post(hello, client.headers())).status == 400


MESSAGES: dict[str, dict[str, Any]] = {
    "request": {"id": 1, "method": "ping"},
    "notification": {"method": "notifications/roots/list_changed"},
    "answer": {"id": 1, "result": {}},
}


@pytest.mark.parametrize("how", ["GET", "DELETE", *MESSAGES])
async def test_a_revision_that_nobody_speaks_is_a_400_in_any_session(variant: str, how: str) -> None:
    """2025-11-25 basic/transports, "Protocol Version Header"."""
    async with serving(variant) as served, served.legacy() as client:
        headers = {**client.headers(), "MCP-Protocol-Version": "1999-01-01"}
        if how in MESSAGES:
            refused = await client.connection.post({"jsonrpc": "2.0", **MESSAGES[how]}, headers)
        else:
            refused = await client.connection.request(how, "/mcp", {**headers, "Accept": "text/event-stream"})
        error = refused.message["error"]
        assert (refused.status, error["code"]) == (400, -32022)
        assert error["data"]["requested"] == "1999-01-01"
        assert "2025-11-25" in error["data"]["supported"]
        assert await client.result("ping") == {}, "the session has ended"


@pytest.mark.parametrize("message", ["notification", "answer"])
async def test_what_needs_no_answer_gets_202_and_no_body(variant: str, message: str) -> None:
    async with serving(variant) as served, served.legacy() as client:
        bodies = {
            "notification": {"jsonrpc": "2.0", "method": "notifications/roots/list_changed"},
            "answer": {"jsonrpc": "2.0", "id": "x", "result": {}},
        }
        accepted = await client.connection.post(bodies[message], client.headers())
        assert (accepted.status, accepted.body) == (202, b"")
        assert await client.result("ping") == {}


async def test_a_session_is_needed_known_and_ended_by_delete(variant: str) -> None:
    async with serving(variant, stdio_spec("fix")) as served, served.legacy() as client:
        session = client.session
        client.session = None
        assert (await client.raw("tools/list")).status == 400
        client.session = "no-such-session"
        assert (await client.raw("tools/list")).status == 404
        assert (await client.delete()).status == 404
        client.session = None
        assert (await client.delete()).status == 400
        client.session = session
        assert (await client.raw("tools/list")).status == 200
        assert served.manager.metrics().sessions == 1
        ended = await client.delete()
        assert (ended.status, ended.body) == (204, b"")
        assert "content-length" not in ended.headers, "RFC 9110 section 8.6"
        assert (await client.raw("tools/list")).status == 404
        assert served.manager.metrics().sessions == 0


@pytest.mark.relay_hazard("a GET or DELETE without a session allocates one")
async def test_a_get_or_delete_without_a_session_makes_none(variant: str) -> None:
    async with serving(variant) as served, served.connect() as connection:
        for method in ("GET", "DELETE"):
            assert (await connection.request(method, "/mcp", {"Accept": "text/event-stream"})).status in (400, 405)
        assert served.manager.metrics().sessions == 0


async def test_a_session_outlives_its_connection(variant: str) -> None:
    async with serving(variant, stdio_spec("fix")) as served, served.legacy() as first:
        other = LegacyClient(await Connection.open(served.gateway))
        other.session = first.session
        async with other:
            assert await other.text("fix__echo", text="elsewhere") == "elsewhere"


async def test_sessions_are_unguessable_and_distinct(variant: str) -> None:
    async with serving(variant) as served, served.legacy() as a, served.legacy() as b:
        assert a.session != b.session
        assert len(a.session or "") >= 22, "fewer than 128 bits"


@pytest.mark.relay_hazard("sessions never freed")
async def test_an_idle_session_ends_and_frees_everything(variant: str, fresh_http: Callable[..., HttpServer]) -> None:
    server = fresh_http(era="legacy")
    async with serving(variant, http_spec(server), session_idle_ms=200) as served, served.legacy() as client:
        await client.text("fix__echo", text="a")
        await until(lambda: served.manager.metrics().sessions == 0, what="the end of the session")
        assert (await client.raw("ping")).status == 404


@pytest.mark.relay_hazard("sessions not freed after DELETE")
async def test_each_client_session_has_its_own_upstream_session(
    variant: str, fresh_http: Callable[..., HttpServer]
) -> None:
    server = fresh_http(era="legacy")
    async with serving(variant, http_spec(server)) as served, served.legacy() as a, served.legacy() as b:
        for client in (a, b, a, b):
            await client.text("fix__echo", text="who am I")
        calls = [entry["session"] for entry in server.log("tools/call")]
        assert calls[0] == calls[2]
        assert calls[1] == calls[3]
        assert calls[0] != calls[1], "one client sees the state of another"
        await a.delete()
        await until(lambda: [e["known"] for e in server.log("DELETE")] == [True], what="DELETE upstream")


async def test_a_stateless_server_serves_all_sessions_with_one(
    variant: str, fresh_http: Callable[..., HttpServer]
) -> None:
    server = fresh_http(era="legacy")
    async with (
        serving(variant, http_spec(server, stateless=True)) as served,
        served.legacy() as a,
        served.legacy() as b,
    ):
        for client in (a, b):
            await client.text("fix__echo", text="shared")
        assert len({entry["session"] for entry in server.log("tools/call")}) == 1
        assert len(server.log("initialize")) == 1


@pytest.mark.relay_hazard("no re-initialise after 404")
async def test_a_session_forgotten_upstream_is_opened_anew_under_the_client(
    variant: str, fresh_http: Callable[..., HttpServer]
) -> None:
    server = fresh_http(era="legacy")
    async with serving(variant, http_spec(server)) as served, served.legacy() as client:
        assert await client.text("fix__echo", text="one") == "one"
        await client.text("fix__forget")
        assert await client.text("fix__echo", text="two") == "two"


async def test_get_opens_a_stream_and_closing_it_frees_it(variant: str) -> None:
    async with serving(variant, stdio_spec("fix")) as served, served.legacy() as client:
        stream = await Connection.open(served.gateway)
        await stream.send(stream.head("GET", "/mcp", {**client.headers(), "Accept": "text/event-stream"}))
        status, headers = await stream.response_head()
        assert status == 200
        assert headers["content-type"].startswith("text/event-stream")
        assert await client.text("fix__echo", text="beside the stream") == "beside the stream"
        stream.abort()
        assert await client.result("ping") == {}


async def test_a_stream_ends_with_its_session(variant: str) -> None:
    async with serving(variant) as served, served.legacy() as client, served.connect() as stream:
        await stream.send(stream.head("GET", "/mcp", {**client.headers(), "Accept": "text/event-stream"}))
        assert (await stream.response_head())[0] == 200
        await client.delete()
        async with asyncio.timeout(5):
            await stream.reader.read()


@pytest.mark.parametrize("id", [0, -1, 2**53 + 1, "", "text", "ünï 😀", 'quote"\\'])
async def test_ids_come_back_exactly(variant: str, id: object) -> None:  # noqa: A002 -- the field's name
    async with serving(variant, stdio_spec("fix")) as served, served.legacy() as client:
        for method, params in (
            ("ping", {}),
            ("tools/call", {"name": "fix__echo"}),
            ("tools/list", {}),
            ("no/such", {}),
        ):
            answer = await client.message(method, params, id=id)
            assert json.dumps(answer["id"]) == json.dumps(id)


async def test_an_unknown_method_is_32601(variant: str) -> None:
    async with serving(variant) as served, served.legacy() as client:
        assert (await client.error("no/such"))["code"] == -32601


async def test_an_unknown_tool_is_32602_and_says_what_to_do(variant: str) -> None:
    async with serving(variant, stdio_spec("fix")) as served, served.legacy() as client:
        error = await client.error("tools/call", {"name": "ghost__echo", "arguments": {}})
        assert error["code"] == -32602
        assert error["data"]["code"] in ("unknown_target", "server_not_found")
        assert "ghost" in error["message"]
        missing = await client.error("tools/call", {"arguments": {}})
        assert missing["code"] == -32602


async def test_a_listening_stream_says_if_its_connection_ends_with_it(variant: str) -> None:
    """A client sends its next request on a connection whose answer is complete and that was not said to end."""
    async with (
        serving(variant, stdio_spec("fix", era="legacy")) as served,
        served.legacy() as client,
        await Connection.open(client.connection.gateway) as listening,
        asyncio.timeout(10),
    ):
        await listening.send(listening.head("GET", "/mcp", {**client.headers(), "Accept": "text/event-stream"}))
        _, headers = await listening.response_head()
        await client.delete()
        try:
            await listening.reader.readuntil(b"0\r\n\r\n")
        except asyncio.IncompleteReadError:  # cut: nobody takes that for an end
            return
        if headers.get("connection", "").lower() != "close":
            assert (await listening.request("GET", "/healthz")).status == 200


async def gives_session(
    given: bytes, heard: list[Any], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """A legacy server that gives one session id, and notes which one each message names."""
    results: dict[str, Any] = {
        "initialize": {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": {"name": "s"}},
        "tools/list": {"tools": [{"name": "echo", "inputSchema": {"type": "object"}}]},
        "tools/call": {"content": [{"type": "text", "text": "served"}]},
    }
    try:
        while head := await reader.readuntil(b"\r\n\r\n"):
            lines = [line.partition(b":") for line in head.split(b"\r\n")[1:-2]]
            headers = {name.lower(): value.strip() for name, _, value in lines}
            body = await reader.readexactly(int(headers.get(b"content-length", 0)))
            message: dict[str, Any] = json.loads(body) if body else {}
            heard.append((message.get("method"), headers.get(b"mcp-session-id")))
            if "id" not in message:
                status = b"202 Accepted" if message else b"405 Method Not Allowed"
                writer.write(b"HTTP/1.1 %b\r\nContent-Length: 0\r\n\r\n" % status)
                continue
            answer = json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": results[message["method"]]}).encode()
            more = b"Mcp-Session-Id: %b\r\n" % given if message["method"] == "initialize" else b""
            start = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n%bContent-Length: %d\r\n\r\n"
            writer.write(start % (more, len(answer)) + answer)
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


@pytest.mark.parametrize(
    ("given", "named"), [(b"0-!~", b"0-!~"), (b"", None), (b"a b", None), (b"\xc3\xa9", None), (b"\xe9", None)]
)
async def test_a_session_id_that_is_not_visible_ascii_is_never_sent_back(
    variant: str, given: bytes, named: bytes | None
) -> None:
    """A server that gives such a one keeps no session that could be named."""
    heard: list[Any] = []
    server = await asyncio.start_server(lambda r, w: gives_session(given, heard, r, w), "127.0.0.1", 0)
    spec = ServerSpec("fix", urls=(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/mcp",), era="legacy")
    async with server, serving(variant, spec) as served, served.legacy() as client:
        assert await client.text("fix__echo") == "served"
        assert {session for method, session in heard if method not in ("initialize", None)} == {named}
