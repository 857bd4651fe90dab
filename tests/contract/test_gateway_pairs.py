"""Every era of client with every era and transport of server: all pairings work, and payloads pass untouched."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from tests.contract.clients import META, MODERN, Client, serving
from tests.contract.kit import HttpServer, http_spec, stdio_spec

from crossfade.impls import ServerSpec

CLIENT_ERAS = ["modern", "legacy"]
UPSTREAMS = [f"{transport}-{era}" for transport in ("stdio", "http", "sse") for era in ("modern", "legacy")]


@pytest.fixture(params=UPSTREAMS)
def upstream(request: pytest.FixtureRequest, shared_http: Callable[..., HttpServer]) -> ServerSpec:
    transport, _, era = request.param.partition("-")
    if transport == "stdio":
        return stdio_spec("fix", era=era)
    return http_spec(shared_http(**({"era": era, "sse": True} if transport == "sse" else {"era": era})))


@pytest.mark.parametrize("era", CLIENT_ERAS)
async def test_every_request_is_bridged(variant: str, era: str, upstream: ServerSpec) -> None:
    async with serving(variant, upstream) as served, served.client(era) as client:
        assert await client.text("fix__echo", text="héllo 😀", n=1) == "héllo 😀"
        called = await client.call("fix__echo", text="a", n=12345678901234567890)
        assert called["structuredContent"]["n"] == 12345678901234567890
        if era == "modern":
            assert called["resultType"] == "complete"

        tools = (await client.result("tools/list"))["tools"]
        assert {"fix__echo", "fix__process"} <= {tool["name"] for tool in tools}
        assert tools[0]["inputSchema"]["$defs"] == {"kept": {"$anchor": "kept"}}

        (resource,) = (await client.result("resources/list"))["resources"]
        assert resource == {"uri": "fixture://greeting", "name": resource["name"], "x-r": 1}
        for uri in ("fixture://greeting", "fixture://item/9"):
            read = await client.result("resources/read", {"uri": uri})
            assert read["contents"][0]["text"] == f"content of {uri}"
        (template,) = (await client.result("resources/templates/list"))["resourceTemplates"]
        assert template["uriTemplate"] == "fixture://item/{id}"

        (prompt,) = (await client.result("prompts/list"))["prompts"]
        assert (prompt["name"], prompt["x-p"]) == ("fix__greet", 1)
        got = await client.result("prompts/get", {"name": "fix__greet", "arguments": {"who": "Ada"}})
        assert got["messages"][0]["content"]["text"] == "Hello, Ada"

        ref = {"type": "ref/prompt", "name": "fix__greet"}
        done = await client.result("completion/complete", {"ref": ref, "argument": {"name": "who", "value": "A"}})
        assert done["completion"]["values"] == ["greet:who:A"]


@pytest.mark.parametrize("era", CLIENT_ERAS)
@pytest.mark.relay_hazard("typed re-serialisation drops unknown fields, $defs and $anchor")
async def test_unknown_fields_errors_and_verdicts_pass_untouched(variant: str, era: str, upstream: ServerSpec) -> None:
    async with serving(variant, upstream) as served, served.client(era) as client:
        odd = await client.call("fix__odd")
        assert client.last is not None
        assert b"12345678901234567890123" in client.last.body
        assert odd["x-top"]["$defs"] == {"a": {"$anchor": "here"}}
        assert odd["content"][1] == {"type": "x-unknown", "payload": "😀"}
        assert odd["_meta"]["x-vendor/key"] == ["untouched"]
        assert (await client.call("fix__fail"))["isError"] is True
        arguments = {"code": -32055, "message": "no way", "data": {"a": [1]}}
        error = await client.error("tools/call", {"name": "fix__refuse", "arguments": arguments})
        assert error == {"code": -32055, "message": "no way", "data": {"a": [1]}}


@pytest.mark.parametrize("era", CLIENT_ERAS)
async def test_an_answer_after_progress_still_comes(variant: str, era: str, upstream: ServerSpec) -> None:
    async with serving(variant, upstream) as served, served.client(era) as client:
        assert await client.text("fix__progress") == "progressed"
        assert await client.text("fix__echo", text="after") == "after"


@pytest.mark.parametrize("era", CLIENT_ERAS)
async def test_a_stream_of_the_server_reaches_the_client_whole(
    variant: str, era: str, shared_http: Callable[..., HttpServer]
) -> None:
    """Same era on both sides: progress notifications pass through ahead of the answer."""
    async with serving(variant, http_spec(shared_http(era=era))) as served, served.client(era) as client:
        params: dict[str, Any] = {"name": "fix__progress", "arguments": {}}
        meta = {"progressToken": "p"}
        if era == "modern":
            encoded = client.encode("tools/call", {**params})
            body = json.loads(encoded.split(b"\r\n\r\n", 1)[1])
            meta = {**body["params"]["_meta"], **meta}
        answer = await client.raw("tools/call", {**params, "_meta": meta})
        assert answer.headers["content-type"].startswith("text/event-stream")
        steps = [event["params"] for event in answer.events[:-1]]
        assert [(step["progressToken"], step["progress"]) for step in steps] == [("p", 1), ("p", 2)]
        assert answer.events[-1]["result"]["content"][0]["text"] == "progressed"


async def last_call(client: Client, meta: dict[str, Any], text: str) -> dict[str, Any]:
    """What the server received for the echo of ``text``; who can be asked has a server process of its own."""
    params = {"name": "fix__seen", "arguments": {"method": "tools/call"}, "_meta": meta}
    seen = json.loads((await client.result("tools/call", params))["content"][0]["text"])
    found: dict[str, Any] = [e for e in seen if (e["params"].get("arguments") or {}).get("text") == text][-1]
    return found


@pytest.mark.parametrize("era", CLIENT_ERAS)
async def test_the_server_sees_its_own_era_and_its_own_names(variant: str, era: str, upstream: ServerSpec) -> None:
    """Hop keys stay on their hop; a vendor's key in ``_meta`` goes through."""
    async with serving(variant, upstream) as served, served.client(era) as client:
        meta: dict[str, Any] = {"x-vendor/trace": "abc"}
        if era == "modern":
            meta |= {META + "protocolVersion": MODERN, META + "clientCapabilities": {"sampling": {}}}
        marked = f"{era} to {upstream.args or upstream.urls}"
        await client.result("tools/call", {"name": "fix__echo", "arguments": {"text": marked}, "_meta": meta})
        seen = await last_call(client, meta, marked)
        assert seen["params"]["name"] == "echo"
        assert seen["params"]["_meta"]["x-vendor/trace"] == "abc"
        keys = {key for key in seen["params"]["_meta"] if key.startswith(META)}
        if served.manager.get("fix").era == "legacy":
            assert keys == set()
        else:
            assert {META + "protocolVersion", META + "clientCapabilities"} <= keys
            if era == "modern":
                assert seen["params"]["_meta"][META + "clientCapabilities"] == {"sampling": {}}
        if "headers" in seen:
            assert seen["headers"]["host"].startswith("127.0.0.1")
            assert seen["headers"].get("mcp-session-id") == seen["session"]
