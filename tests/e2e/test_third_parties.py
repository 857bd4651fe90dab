"""Third-party servers behind ``crossfade serve``, third-party clients in front of it, in both eras."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mcp import Client, MCPError, StdioServerParameters
from mcp_types import PromptReference, ResourceTemplateReference
from tests.e2e.kit import CROSSFADE

MODES = ["auto", "2026-07-28", "legacy"]
SERVERS = ["every", "web"]


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest) -> str:
    mode: str = request.param
    return mode


def text_of(result: Any) -> str:
    return "\n".join(block.text for block in result.content if block.type == "text")


async def test_the_eras_are_agreed_on(variant: str, serving: Callable[[str], str]) -> None:
    for mode, version in (("auto", "2026-07-28"), ("2026-07-28", "2026-07-28"), ("legacy", "2025-11-25")):
        async with Client(serving(variant), mode=mode) as client:
            assert client.protocol_version == version
            if mode != version:  # a pinned version asks for nothing, so it learns no name
                assert client.server_info is not None
                assert client.server_info.name


async def test_all_tools_of_all_servers_are_listed(variant: str, serving: Callable[[str], str], mode: str) -> None:
    async with Client(serving(variant), mode=mode) as client:
        page = await client.list_tools()
        names = {tool.name for tool in page.tools}
        while page.next_cursor:
            page = await client.list_tools(cursor=page.next_cursor)
            names |= {tool.name for tool in page.tools}
    assert {"every__echo", "web__get-sum", "time__get_current_time", "time__convert_time"} <= names
    assert max(map(len, names)) <= 64


@pytest.mark.parametrize("server", SERVERS)
async def test_tools_of_server_everything_work(
    variant: str, serving: Callable[[str], str], mode: str, server: str
) -> None:
    async with Client(serving(variant), mode=mode) as client:
        assert text_of(await client.call_tool(f"{server}__echo", {"message": "hé 😀"})) == "Echo: hé 😀"
        assert (
            text_of(await client.call_tool(f"{server}__get-sum", {"a": 20, "b": 22})) == "The sum of 20 and 22 is 42."
        )
        weather = await client.call_tool(f"{server}__get-structured-content", {"location": "New York"})
        assert set(weather.structured_content) >= {"temperature", "conditions", "humidity"}
        image = await client.call_tool(f"{server}__get-tiny-image", {})
        assert [block.type for block in image.content] == ["text", "image", "text"]
        wrong = await client.call_tool(f"{server}__get-sum", {"a": "twenty"})
        assert wrong.is_error


@pytest.mark.parametrize("server", SERVERS)
async def test_a_long_call_reports_progress_or_at_least_ends(
    variant: str, serving: Callable[[str], str], mode: str, server: str
) -> None:
    async with Client(serving(variant), mode=mode) as client:
        arguments = {"duration": 0.4, "steps": 2}
        done = await client.call_tool(f"{server}__trigger-long-running-operation", arguments)
        assert "completed" in text_of(done)


async def test_a_modern_server_behind_any_client(variant: str, serving: Callable[[str], str], mode: str) -> None:
    """``mcp-server-time`` speaks both eras, so the manager talks modern to it."""
    async with Client(serving(variant), mode=mode) as client:
        arguments = {"source_timezone": "Europe/Berlin", "time": "12:00", "target_timezone": "Asia/Tokyo"}
        result = await client.call_tool("time__convert_time", arguments)
        assert result.structured_content["target"]["timezone"] == "Asia/Tokyo"
        bad = await client.call_tool("time__get_current_time", {"timezone": "Nowhere/Land"})
        assert bad.is_error


async def test_resources_prompts_and_completion(variant: str, serving: Callable[[str], str], mode: str) -> None:
    async with Client(serving(variant), mode=mode) as client:
        resources = (await client.list_resources()).resources
        read = await client.read_resource(str(resources[0].uri))
        assert read.contents
        templates = {template.uri_template for template in (await client.list_resource_templates()).resource_templates}
        assert "demo://resource/dynamic/text/{resourceId}" in templates
        dynamic = await client.read_resource("demo://resource/dynamic/text/7")
        assert "text='Resource 7" in str(dynamic.contents[0])
        prompts = {prompt.name for prompt in (await client.list_prompts()).prompts}
        assert {"every__args-prompt", "web__simple-prompt"} <= prompts
        got = await client.get_prompt("every__args-prompt", {"city": "Berlin"})
        assert "Berlin" in str(got.messages[0].content)
        reference = PromptReference(type="ref/prompt", name="every__completable-prompt")
        done = await client.complete(reference, {"name": "department", "value": "E"})
        assert done.completion.values == ["Engineering"]
        by_uri = ResourceTemplateReference(type="ref/resource", uri="demo://resource/dynamic/text/{resourceId}")
        assert (await client.complete(by_uri, {"name": "resourceId", "value": "4"})).completion.values


async def test_unknown_names_are_errors_a_client_understands(
    variant: str, serving: Callable[[str], str], mode: str
) -> None:
    async with Client(serving(variant), mode=mode) as client:
        with pytest.raises(MCPError, match="ghost"):
            await client.call_tool("ghost__echo", {})
        with pytest.raises(MCPError):
            await client.read_resource("nowhere://at/all")


async def test_many_clients_at_once_get_their_own_answers(variant: str, serving: Callable[[str], str]) -> None:
    async def one(number: int) -> None:
        async with Client(serving(variant), mode=MODES[number % 3]) as client:
            for turn in range(3):
                message = f"client {number} turn {turn}"
                for server in SERVERS:
                    result = await client.call_tool(f"{server}__echo", {"message": message})
                    assert text_of(result) == f"Echo: {message}"

    await asyncio.gather(*(one(number) for number in range(12)))


async def test_one_client_over_stdio(variant: str, config_file: Path, mode: str) -> None:
    arguments = ["serve", "--config", str(config_file), "--impl", variant, "--stdio"]
    async with Client(StdioServerParameters(command=str(CROSSFADE), args=arguments), mode=mode) as client:
        assert text_of(await client.call_tool("every__echo", {"message": "piped"})) == "Echo: piped"
        assert text_of(await client.call_tool("web__echo", {"message": "both"})) == "Echo: both"
        assert "time__convert_time" in {tool.name for tool in (await client.list_tools()).tools}
