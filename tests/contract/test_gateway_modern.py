"""The gateway towards modern clients: stateless, and strict about headers and ``_meta``."""

from __future__ import annotations

from typing import Any

import pytest
from tests.contract.clients import META, MODERN, modern_meta, serving
from tests.contract.kit import stdio_spec
from tests.contract.rawhttp import Response

CALL = {"name": "fix__echo", "arguments": {"text": "a"}}
HEADERS = {"MCP-Protocol-Version": MODERN, "Mcp-Method": "tools/call", "Mcp-Name": "fix__echo"}


async def sent(
    variant: str, headers: dict[str, str | None], meta: dict[str, Any] | None, method: str = "tools/call"
) -> Response:
    """The answer to one call with these headers and this ``_meta``."""
    params: dict[str, Any] = dict(CALL) if method == "tools/call" else {}
    if meta is not None:
        params["_meta"] = meta
    async with serving(variant, stdio_spec("fix")) as served, served.connect() as connection:
        body = {"jsonrpc": "2.0", "id": "m", "method": method, "params": params}
        answer = await connection.post(body, headers)
        assert answer.message["id"] == "m"
        return answer


@pytest.mark.parametrize(
    "wrong",
    [
        {"Mcp-Name": "fix__other"},
        {"Mcp-Name": None},
        {"Mcp-Method": "tools/list"},
        {"Mcp-Method": None},
        {"MCP-Protocol-Version": "2025-11-25"},
        {"MCP-Protocol-Version": None},
    ],
    ids=str,
)
async def test_a_header_that_differs_from_the_body_is_32020(variant: str, wrong: dict[str, str | None]) -> None:
    answer = await sent(variant, {**HEADERS, **wrong}, modern_meta())
    assert (answer.status, answer.message["error"]["code"]) == (400, -32020)


async def test_a_header_in_base64_equals_its_decoded_text(variant: str) -> None:
    answer = await sent(variant, {**HEADERS, "Mcp-Name": "=?base64?Zml4X19lY2hv?="}, modern_meta())
    assert answer.status == 200
    assert answer.message["result"]["content"][0]["text"] == "a"


@pytest.mark.parametrize(
    "meta",
    [
        None,
        {},
        {META + "protocolVersion": MODERN},
        {META + "clientCapabilities": {}},
        {META + "protocolVersion": MODERN, META + "clientCapabilities": "none"},
    ],
    ids=str,
)
async def test_a_request_without_its_meta_is_32602(variant: str, meta: dict[str, Any] | None) -> None:
    answer = await sent(variant, dict(HEADERS), meta)
    assert (answer.status, answer.message["error"]["code"]) == (400, -32602)


async def test_an_unknown_version_is_32022_and_tells_what_is_spoken(variant: str) -> None:
    meta = modern_meta(**{META + "protocolVersion": "2031-01-01"})
    answer = await sent(variant, {**HEADERS, "MCP-Protocol-Version": "2031-01-01"}, meta)
    error = answer.message["error"]
    assert (answer.status, error["code"]) == (400, -32022)
    assert MODERN in error["data"]["supported"]
    assert error["data"]["requested"] == "2031-01-01"


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"MCP-Protocol-Version": "2025-11-25"}, -32020),
        ({"MCP-Protocol-Version": None}, -32020),
        ({"Mcp-Method": "tools/list"}, -32602),
        ({"Mcp-Name": None}, -32602),
    ],
    ids=str,
)
async def test_of_several_faults_the_revision_is_told_first(
    variant: str, wrong: dict[str, str | None], code: int
) -> None:
    """Only the revision says what else is owed: before the two sides agree on it, capabilities are not missed."""
    answer = await sent(variant, {**HEADERS, **wrong}, {META + "protocolVersion": MODERN})
    assert (answer.status, answer.message["error"]["code"]) == (400, code)


async def test_a_revision_that_nobody_speaks_owes_none_of_our_headers(variant: str) -> None:
    meta = {META + "protocolVersion": "2031-01-01"}
    answer = await sent(variant, {"MCP-Protocol-Version": "2031-01-01"}, meta)
    assert (answer.status, answer.message["error"]["code"]) == (400, -32022)


NOTE = "notifications/x-told"


@pytest.mark.parametrize(
    ("more", "meta", "code"),
    [
        ({}, None, None),
        ({"Mcp-Method": NOTE}, None, None),
        ({"Mcp-Method": NOTE}, {META + "protocolVersion": MODERN}, None),
        ({"Mcp-Method": "tools/call"}, None, -32020),
        ({"MCP-Protocol-Version": "2025-11-25"}, {META + "protocolVersion": MODERN}, -32020),
        ({"MCP-Protocol-Version": None}, {META + "protocolVersion": MODERN}, -32020),
        ({"MCP-Protocol-Version": "2031-01-01"}, {META + "protocolVersion": "2031-01-01"}, -32022),
    ],
    ids=str,
)
async def test_a_notification_owes_no_meta_but_must_not_contradict_its_headers(
    variant: str, more: dict[str, str | None], meta: dict[str, Any] | None, code: int | None
) -> None:
    """Schema, ``NotificationParams``; streamable-http, "Sending Messages" and "Protocol Version Header"."""
    params = {} if meta is None else {"params": {"_meta": meta}}
    async with serving(variant) as served, served.connect() as connection:
        note = {"jsonrpc": "2.0", "method": NOTE, **params}
        answer = await connection.post(note, {"MCP-Protocol-Version": MODERN, **more})
        if code is None:
            assert (answer.status, answer.body) == (202, b"")
        else:
            assert (answer.status, answer.message["error"]["code"]) == (400, code)
            assert answer.message["id"] is None


async def test_a_response_is_no_message_of_this_revision(variant: str) -> None:
    async with serving(variant) as served, served.connect() as connection:
        answer = await connection.post({"jsonrpc": "2.0", "id": 1, "result": {}}, {"MCP-Protocol-Version": MODERN})
        assert (answer.status, answer.message["error"]["code"]) == (400, -32600)
        assert answer.message["id"] is None


async def test_an_unknown_method_is_404_and_32601(variant: str) -> None:
    headers = {"MCP-Protocol-Version": MODERN, "Mcp-Method": "no/such"}
    answer = await sent(variant, dict(headers), modern_meta(), "no/such")
    assert (answer.status, answer.message["error"]["code"]) == (404, -32601)


async def test_there_is_no_session_and_a_session_header_is_ignored(variant: str) -> None:
    answer = await sent(variant, {**HEADERS, "Mcp-Session-Id": "stale", "Last-Event-ID": "4"}, modern_meta())
    assert answer.status == 200
    assert "mcp-session-id" not in answer.headers


@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_get_and_delete_do_not_exist(variant: str, method: str) -> None:
    async with serving(variant) as served, served.connect() as connection:
        answer = await connection.request(method, "/mcp", {"MCP-Protocol-Version": MODERN})
        assert answer.status == 405


async def test_discover_speaks_for_all_servers(variant: str) -> None:
    async with serving(variant, stdio_spec("a"), stdio_spec("b", era="modern")) as served:
        async with served.client("modern") as client:
            found = await client.result("server/discover")
        assert found["supportedVersions"] == [MODERN, "2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"]
        assert {"tools", "resources", "prompts", "completions"} <= found["capabilities"].keys()
        assert found["resultType"] == "complete"
        assert found["ttlMs"] >= 0
        assert found["cacheScope"] in ("public", "private")
        assert found["_meta"][META + "serverInfo"]["name"]


async def test_discover_works_with_no_server_at_all(variant: str) -> None:
    async with serving(variant) as served, served.client("modern") as client:
        assert MODERN in (await client.result("server/discover"))["supportedVersions"]
        assert (await client.result("tools/list"))["tools"] == []


async def test_lists_carry_what_the_era_demands_in_a_stable_order(variant: str) -> None:
    specs = stdio_spec("b"), stdio_spec("a", era="modern")
    async with serving(variant, *specs) as served, served.client("modern") as client:
        first, second = [await client.result("tools/list") for _ in range(2)]
        assert [t["name"] for t in first["tools"]] == [t["name"] for t in second["tools"]]
        assert {t["name"] for t in first["tools"]} >= {"a__echo", "b__echo", "a__process", "b__process"}
        assert "nextCursor" not in first or first["nextCursor"]
        for method in ("tools/list", "prompts/list", "resources/list", "resources/templates/list"):
            listed = await client.result(method)
            assert listed["resultType"] == "complete"
            assert isinstance(listed["ttlMs"], int)
            assert listed["cacheScope"] in ("public", "private")


async def test_one_dead_server_does_not_empty_the_lists(variant: str) -> None:
    specs = stdio_spec("good"), stdio_spec("bad", start="exit")
    async with serving(variant, *specs) as served, served.client("modern") as client:
        assert {t["name"].split("__")[0] for t in (await client.result("tools/list"))["tools"]} == {"good"}
