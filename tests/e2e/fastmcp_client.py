"""The fastmcp client as a program: ``python fastmcp_client.py URL MODE`` does a round of everything, told as JSON.

It runs with fastmcp and what that needs on its own path, apart from what the tests are installed with.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from fastmcp import Client  # type: ignore[import-not-found, unused-ignore]  # in a folder of its own, see conftest.py


async def main(url: str, mode: str) -> None:
    steps: list[float] = []
    logged: list[str] = []

    async def sampled(messages: Any, params: Any, context: Any) -> str:
        del messages, params, context
        return "It"

    async def elicited(message: str, response_type: Any, params: Any, context: Any) -> dict[str, str]:
        del message, response_type, params, context
        return {"name": "Ada"}

    async def progressed(progress: float, total: float | None, message: str | None) -> None:
        del total, message
        steps.append(progress)

    async def log(message: Any) -> None:
        logged.append(str(message.level))

    asking = Client(
        url,
        mode=mode,
        roots=["file:///home"],
        sampling_handler=sampled,
        elicitation_handler=elicited,
        progress_handler=progressed,
        log_handler=log,
    )
    async with asking as client:

        async def text(tool: str, **arguments: Any) -> str:
            result = await client.call_tool(tool, arguments)
            return str(result.content[0].text)

        found = {
            "tools": [tool.name for tool in await client.list_tools()],
            "echo": await text("every__echo", message="hé 😀"),
            "prompts": [prompt.name for prompt in await client.list_prompts()],
            "resource": str((await client.read_resource("demo://resource/dynamic/text/7"))[0].text),
            "sampling": await text("every__trigger-sampling-request", prompt="hi", maxTokens=5),
            "elicitation": await text("every__trigger-elicitation-request"),
            "roots": await text("every__get-roots-list"),
            "long": await text("every__trigger-long-running-operation", duration=0.2, steps=2),
        }
    sys.stdout.write(json.dumps({**found, "steps": steps, "logged": logged}) + "\n")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
