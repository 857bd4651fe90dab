"""Arguments that a modern client repeats in ``Mcp-Param-*`` headers: where the gateway is the last that sees the
headers, it is the one that compares them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from tests.contract.clients import MODERN, Served, modern_meta, serving
from tests.contract.kit import HttpServer, http_spec, stdio_spec
from tests.contract.rawhttp import Response

from crossfade.impls import ServerSpec

SAME: list[tuple[dict[str, Any], dict[str, str]]] = [
    ({}, {}),
    ({"region": None}, {}),
    ({"region": "eu"}, {"Mcp-Param-Region": "eu"}),
    ({"region": "é"}, {"mcp-param-region": "=?base64?w6k=?="}),
    ({"deep": {"n": 42}}, {"Mcp-Param-N": "42.0"}),
    ({"region": "eu", "other": 1}, {"Mcp-Param-Region": "eu", "Mcp-Param-Other": "2"}),
]
OTHER: list[tuple[dict[str, Any], dict[str, str]]] = [
    ({"region": "eu"}, {"Mcp-Param-Region": "us"}),
    ({"region": "eu"}, {"Mcp-Param-Region": "=?base64?ZXU?="}),
    ({"region": "eu"}, {"Mcp-Param-Other": "eu"}),
    ({"region": "eu"}, {}),
    ({}, {"Mcp-Param-Region": "eu"}),
    ({"deep": {"n": 42}}, {"Mcp-Param-N": "43"}),
]


@pytest.fixture(params=["stdio-legacy", "stdio-modern", "http-legacy"])
def upstream(request: pytest.FixtureRequest, shared_http: Callable[..., HttpServer]) -> ServerSpec:
    transport, _, era = request.param.partition("-")
    return stdio_spec("fix", era=era) if transport == "stdio" else http_spec(shared_http(era=era))


async def call(served: Served, arguments: dict[str, Any], headers: dict[str, str]) -> Response:
    base = {"MCP-Protocol-Version": MODERN, "Mcp-Method": "tools/call", "Mcp-Name": "fix__odd"}
    params = {"name": "fix__odd", "arguments": arguments, "_meta": modern_meta()}
    async with served.connect() as connection:
        message = {"jsonrpc": "2.0", "id": "mine", "method": "tools/call", "params": params}
        return await connection.post(message, {**base, **headers})


async def test_headers_that_say_otherwise_than_the_arguments_are_refused(variant: str, upstream: ServerSpec) -> None:
    async with serving(variant, upstream) as served:
        for arguments, headers in OTHER:
            answer = await call(served, arguments, headers)
            error = answer.message["error"]
            assert (answer.status, error["code"], answer.message["id"]) == (400, -32020, "mine"), (arguments, headers)
            assert "Header mismatch: Mcp-Param-" in error["message"]
        for arguments, headers in SAME:
            answer = await call(served, arguments, headers)
            assert (answer.status, "result" in answer.message) == (200, True), (arguments, headers, answer)


async def test_what_no_definition_asks_for_is_nobodys_business(variant: str, upstream: ServerSpec) -> None:
    async with serving(variant, upstream) as served, served.client("modern") as client:
        request = client.encode("tools/call", {"name": "fix__echo", "arguments": {"text": "on"}})
        await client.connection.send(request.replace(b"Mcp-Method", b"Mcp-Param-Text: off\r\nMcp-Method", 1))
        assert (await client.connection.response()).message["result"]["content"][0]["text"] == "on"
