"""Answers of the official client to what servers ask, always the same; its callbacks are told by their names."""

from __future__ import annotations

from typing import Any

from mcp_types import CreateMessageResult, ElicitResult, ListRootsResult, Root, TextContent
from pydantic import FileUrl


async def roots(context: Any) -> ListRootsResult:
    del context
    return ListRootsResult(roots=[Root(uri=FileUrl("file:///home"))])


async def elicited(context: Any, params: Any) -> ElicitResult:
    del context, params
    return ElicitResult(action="accept", content={"name": "Ada"})


async def sampled(context: Any, params: Any) -> CreateMessageResult:
    del context, params
    return CreateMessageResult(role="assistant", content=TextContent(type="text", text="It"), model="m")


ANSWERS: dict[str, Any] = {
    "list_roots_callback": roots,
    "elicitation_callback": elicited,
    "sampling_callback": sampled,
}


def text_of(result: Any) -> str:
    """All its text."""
    return "\n".join(block.text for block in result.content if block.type == "text")
