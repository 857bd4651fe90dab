"""The client that the suite's client scenarios start: ``python -m tests.conformance.client --impl rust URL``.

It starts ``crossfade serve`` before the suite's URL and drives it with the official Python client, so what is judged is
how the gateway speaks to servers. Rule: what a scenario needs of its client is done here by the official client alone.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
from collections.abc import Awaitable, Callable
from typing import Any

import mcp_types as types
from mcp import Client, MCPError
from mcp.client.context import ClientRequestContext
from pydantic import ValidationError
from tests.conformance import stand

LIMIT_S = 20.0
"""Less than the suite allows: it would kill our shell only, and leave the gateway behind."""
ADDENDS = {"a": 5, "b": 3}


async def _elicit(context: ClientRequestContext, params: types.ElicitRequestParams) -> types.ElicitResult:
    """Accept with the defaults of the form (SEP-1034), and confirm what is to be confirmed."""
    properties = getattr(params, "requested_schema", {}).get("properties", {})
    content = {name: schema["default"] for name, schema in properties.items() if "default" in schema}
    return types.ElicitResult(action="accept", content={"confirmed": True} if "confirmed" in properties else content)


async def _sample(context: ClientRequestContext, params: types.CreateMessageRequestParams) -> types.CreateMessageResult:
    return types.CreateMessageResult(
        role="assistant", content=types.TextContent(type="text", text="stub"), model="conformance"
    )


async def _roots(context: ClientRequestContext) -> types.ListRootsResult:
    return types.ListRootsResult(roots=[])


async def _list(client: Client) -> None:
    await client.list_tools()


async def _add(client: Client) -> None:
    await client.list_tools()
    await client.call_tool("add_numbers", ADDENDS)


def _calling(name: str) -> Callable[[Client], Awaitable[None]]:
    async def call(client: Client) -> None:
        await client.list_tools()
        await client.call_tool(name, {})

    return call


async def _call_what_is_listed(client: Client) -> None:
    """Tools whose header annotations are invalid must not be there."""
    stubs: dict[str, Any] = {"string": "x", "integer": 0, "number": 0, "boolean": False}
    for tool in (await client.list_tools()).tools:
        properties = tool.input_schema.get("properties", {})
        required = tool.input_schema.get("required", [])
        await _attempt(client, tool.name, {name: stubs[properties[name]["type"]] for name in required})


async def _call_what_is_told(client: Client) -> None:
    listed = {tool.name for tool in (await client.list_tools()).tools}
    for call in json.loads(os.environ["MCP_CONFORMANCE_CONTEXT"])["toolCalls"]:
        if call["name"] in listed:
            await _attempt(client, call["name"], call.get("arguments") or {})


async def _call_in_rounds(client: Client) -> None:
    """The last tool's result lacks ``resultType``: the suite takes it, this client is stricter."""
    await client.list_tools()
    for name in ("test_mrtr_echo_state", "test_mrtr_unrelated", "test_mrtr_no_state"):
        await client.call_tool(name, {})
    await _attempt(client, "test_mrtr_no_result_type", {})


async def _attempt(client: Client, name: str, arguments: dict[str, Any]) -> None:
    """The suite judges the requests, and answers some of them with what this client refuses."""
    try:
        await client.call_tool(name, arguments)
    except (MCPError, ValidationError) as error:
        print(f"{name}: {error}")  # noqa: T201 -- the suite shows it when the scenario fails


SCENARIOS: dict[str, Callable[[Client], Awaitable[None]]] = {
    "initialize": _list,
    "tools_call": _add,
    "sse-retry": _calling("test_reconnection"),
    "elicitation-sep1034-client-defaults": _calling("test_client_elicitation_defaults"),
    "request-metadata": _add,
    "http-standard-headers": _add,
    "http-custom-headers": _call_what_is_told,
    "http-invalid-tool-headers": _call_what_is_listed,
    "json-schema-ref-no-deref": _list,
    "sep-2322-client-request-state": _call_in_rounds,
}


async def drive(url: str, scenario: str, mode: str) -> None:
    client = Client(url, mode=mode, elicitation_callback=_elicit, sampling_callback=_sample, list_roots_callback=_roots)
    async with asyncio.timeout(LIMIT_S), client:
        await SCENARIOS[scenario](client)


def main() -> None:
    parser = argparse.ArgumentParser(prog="tests.conformance.client")
    parser.add_argument("--impl", required=True)
    parser.add_argument("--era", choices=("legacy", "modern"), required=True, help="what the client speaks")
    parser.add_argument("url")
    options = parser.parse_args()
    mode = "legacy" if options.era == "legacy" else "auto"
    with stand.gateway({"url": options.url}, options.impl) as url:
        asyncio.run(drive(url, os.environ["MCP_CONFORMANCE_SCENARIO"], mode))


if __name__ == "__main__":
    main()
