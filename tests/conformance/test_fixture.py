"""The fixture is what the suite takes it for, over either transport: one era only, the same tools in both."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import mcp_types as types
import pytest
from mcp import Client, MCPError, StdioServerParameters
from mcp.client.context import ClientRequestContext
from tests.conformance import stand

KINDS = [(era, transport) for era in ("legacy", "modern") for transport in ("http", "stdio")]
PREFIX = "test_input_required_result_"


@pytest.fixture(params=KINDS, ids="-".join)
def kind(request: pytest.FixtureRequest) -> tuple[str, str]:
    kind: tuple[str, str] = request.param
    return kind


@pytest.fixture
def server(kind: tuple[str, str]) -> Iterator[Any]:
    """What the official client connects to."""
    era, transport = kind
    with ExitStack() as stack:
        if transport == "http":
            yield stack.enter_context(stand.fixture(era))
        else:
            spec = stand.over_stdio(era)
            yield StdioServerParameters(command=sys.executable, args=spec["args"], env=spec["env"], cwd=spec["cwd"])


async def elicit(context: ClientRequestContext, params: types.ElicitRequestParams) -> types.ElicitResult:
    return types.ElicitResult(action="accept", content={"name": "Ada", "color": "blue", "ok": True})


async def sample(context: ClientRequestContext, params: types.CreateMessageRequestParams) -> types.CreateMessageResult:
    return types.CreateMessageResult(role="assistant", content=types.TextContent(type="text", text="Hi"), model="none")


async def roots(context: ClientRequestContext) -> types.ListRootsResult:
    return types.ListRootsResult(roots=[])


def client(server: Any, era: str) -> Client:
    mode = "legacy" if era == "legacy" else "2026-07-28"
    return Client(server, mode=mode, elicitation_callback=elicit, sampling_callback=sample, list_roots_callback=roots)


async def test_a_tool_that_asks_gets_its_answers_in_either_era(kind: tuple[str, str], server: Any) -> None:
    async with client(server, kind[0]) as session:
        for name, said in {
            "elicitation": "Hello, Ada!",
            "multi_round": "Multi-round complete for Ada who likes blue",
            "multiple_inputs": "Name: Ada; Greeting: Hi; Roots: 0",
        }.items():
            result = await session.call_tool(PREFIX + name, {})
            assert getattr(result.content[0], "text", None) == said


async def test_progress_arrives_before_the_answer(kind: tuple[str, str], server: Any) -> None:
    seen: list[float] = []

    async def seeing(progress: float, total: float | None, message: str | None) -> None:
        seen.append(progress)

    async with client(server, kind[0]) as session:
        await session.call_tool("test_tool_with_progress", {}, progress_callback=seeing)
    assert seen == [0, 50, 100]


async def test_the_other_era_is_refused(kind: tuple[str, str], server: Any) -> None:
    other = "modern" if kind[0] == "legacy" else "legacy"
    with pytest.raises((MCPError, ExceptionGroup)):
        async with client(server, other) as session:
            await session.list_tools()
