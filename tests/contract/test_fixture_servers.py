"""The fixtures are MCP servers: the official client is content with each of them, so what fails behind them is ours."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from mcp import Client, StdioServerParameters
from tests.contract.kit import ROOT, HttpServer, stdio_spec
from tests.contract.official import ANSWERS, text_of

MODES = {"legacy": "legacy", "modern": "2026-07-28", "both": "auto"}
KINDS: dict[str, Any] = {"http": {}, "sse": {"sse": True}, "crlf": {"sse": True, "newline": "crlf"}}
TRANSPORTS = ["stdio", *KINDS]
ASKING = {
    "rounds": [
        [{"key": "a", "method": "roots/list"}, {"key": "b", "method": "elicitation/create"}],
        [{"key": "c", "method": "sampling/createMessage"}],
    ]
}

pytestmark = pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")  # legacy is what we test

Shared = Callable[..., HttpServer]


def server_of(era: str, transport: str, shared: Shared) -> StdioServerParameters | str:
    if transport == "stdio":
        spec = stdio_spec(era=era)
        return StdioServerParameters(command=spec.command or "", args=[*spec.args], cwd=ROOT)
    return shared(era=era, **KINDS[transport]).url


@pytest.mark.parametrize("era", MODES)
@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_the_official_client_is_content(era: str, transport: str, shared_http: Shared) -> None:
    async with Client(server_of(era, transport, shared_http), mode=MODES[era]) as client:
        assert text_of(await client.call_tool("echo", {"text": "hello"})) == "hello"
        page = await client.list_tools()
        assert page.next_cursor == "second"
        rest = await client.list_tools(cursor="second")
        first, second = ({tool.name for tool in part.tools} for part in (page, rest))
        assert second
        assert "process" in first ^ second, "on one page and not on both"
        assert (await client.call_tool("fail", {})).is_error
        assert (await client.read_resource("fixture://item/1")).contents
        assert (await client.get_prompt("greet", {"who": "Ada"})).messages


@pytest.mark.parametrize("era", ["legacy", "modern"])
@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_the_official_client_is_asked_and_logged_to(era: str, transport: str, shared_http: Shared) -> None:
    """Several requests at once, several rounds, log messages by level, progress."""
    logged: list[str] = []
    steps: list[float] = []

    async def log(params: Any) -> None:
        logged.append(params.level)

    async def progressed(progress: float, total: float | None, message: str | None) -> None:
        del total, message
        steps.append(progress)

    asked = Client(
        server_of(era, transport, shared_http),
        mode=MODES[era],
        **ANSWERS,
        logging_callback=log,
        log_level="error" if era == "modern" else None,
    )
    async with asked as client:
        rounds = json.loads(text_of(await client.call_tool("gather", ASKING)))
        assert rounds[0]["a"]["roots"][0]["uri"] == "file:///home"
        assert rounds[0]["b"]["content"] == {"name": "Ada"}
        assert rounds[1]["c"]["content"]["text"] == "It"
        assert (await client.read_resource("fixture://asking/roots/list")).contents
        assert (await client.get_prompt("asking", {"method": "roots/list"})).messages
        if era == "legacy":
            await client.set_logging_level("error")
        assert text_of(await client.call_tool("speak", {})) == "spoken"
        assert text_of(await client.call_tool("progress", {}, progress_callback=progressed)) == "progressed"
    assert logged == ["error", "critical", "alert", "emergency"]
    assert steps == [1, 2]


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_the_official_client_hears_of_changes_in_the_modern_era(transport: str, fresh_http: Shared) -> None:
    wanted: dict[str, Any] = {"tools_list_changed": True, "resource_subscriptions": ["fixture://greeting"]}
    async with (
        Client(server_of("modern", transport, fresh_http), mode=MODES["modern"]) as client,
        client.listen(**wanted) as heard,
    ):
        for uri in ("fixture://other", "fixture://greeting"):
            params = {"what": "resources/updated", "params": {"uri": uri}}
            told = text_of(await client.call_tool("announce", params))
            assert told == ("1" if uri == "fixture://greeting" else "0")
        await client.call_tool("grow", {"name": "new"})
        events = [await anext(heard), await anext(heard)]
        assert "greeting" in repr(events[0])
        await client.call_tool("dismiss", {"graceful": True})
        assert [event async for event in heard] == []


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_the_official_client_hears_of_changes_in_the_legacy_era(transport: str, fresh_http: Shared) -> None:
    heard: asyncio.Queue[Any] = asyncio.Queue()

    async def hear(message: Any) -> None:
        await heard.put(message)

    server = server_of("legacy", transport, fresh_http)
    async with Client(server, mode="legacy", message_handler=hear) as client:
        await client.subscribe_resource("fixture://greeting")
        told = "0"
        async with asyncio.timeout(5):
            while told == "0":  # over HTTP its stream opens when it likes
                params = {"what": "resources/updated", "params": {"uri": "fixture://greeting"}}
                told = text_of(await client.call_tool("announce", params))
            assert "greeting" in repr(await heard.get())


async def test_an_answer_dropped_waits_for_whoever_comes_back_for_it(shared_http: Shared) -> None:
    async with Client(shared_http(era="legacy").url, mode="legacy") as client:
        assert text_of(await client.call_tool("drop", {})) == "resumed"
