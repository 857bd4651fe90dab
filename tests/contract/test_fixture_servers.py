"""The fixtures are MCP servers: the official client is content with each of them, so what fails behind them is ours."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from mcp import Client, StdioServerParameters
from tests.contract.kit import ROOT, HttpServer, stdio_spec

MODES = {"legacy": "legacy", "modern": "2026-07-28", "both": "auto"}


@pytest.mark.parametrize("era", MODES)
@pytest.mark.parametrize("transport", ["stdio", "http", "sse"])
async def test_the_official_client_is_content(era: str, transport: str, shared_http: Callable[..., HttpServer]) -> None:
    if transport == "stdio":
        spec = stdio_spec(era=era)
        server: StdioServerParameters | str = StdioServerParameters(
            command=spec.command or "", args=[*spec.args], cwd=ROOT
        )
    else:
        server = shared_http(**({"era": era, "sse": True} if transport == "sse" else {"era": era})).url
    async with Client(server, mode=MODES[era]) as client:
        result = await client.call_tool("echo", {"text": "hello"})
        assert result.content[0].text == "hello"  # type: ignore[union-attr]
        page = await client.list_tools()
        assert page.next_cursor == "second"
        assert "process" in {tool.name for tool in (await client.list_tools(cursor="second")).tools}
        assert (await client.call_tool("fail", {})).is_error
        assert (await client.read_resource("fixture://item/1")).contents
        assert (await client.get_prompt("greet", {"who": "Ada"})).messages
