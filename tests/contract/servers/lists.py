"""The fixture server's lists, resources, prompts and completion.

Rule: every list that has more than one entry comes in two pages, so that a client that stops at the first is caught.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Collection
from typing import Any

from tests.contract.servers.base import Message, RpcError

HINTS: dict[str, Message] = {"look": {"readOnlyHint": True}, "again": {"idempotentHint": True}, "echo": {"title": "e"}}

MIRRORED: Message = {
    "region": {"type": "string", "x-mcp-header": "Region"},
    "deep": {"properties": {"n": {"type": "integer", "x-mcp-header": "N"}}},
}
"""What ``odd`` wants repeated in headers."""


SECOND = os.environ.get("FIXTURE_CURSOR", "second")
"""The cursor of the second page."""
LAST: Message = json.loads(os.environ.get("FIXTURE_LAST", "{}"))
"""What the last page holds besides."""


def page(key: str, items: list[Message], params: Message) -> Message:
    """One of two pages."""
    half = (len(items) + 1) // 2
    if params.get("cursor") is None and len(items) > 1:
        return {key: items[:half], "nextCursor": SECOND}
    if params.get("cursor") not in (None, SECOND):
        raise RpcError(-32602, f"Invalid cursor: {params['cursor']}")
    return {key: items[half:] if len(items) > 1 else items, **LAST}


def tools(names: Collection[str], params: Message) -> Message:
    schema = {"type": "object", "$defs": {"kept": {"$anchor": "kept"}}, "x-unknown": True}
    return page("tools", [_tool(name, schema) for name in names], params)


def _tool(name: str, schema: Message) -> Message:
    schema = {**schema, "properties": MIRRORED} if name == "odd" else schema
    hints = {"annotations": HINTS[name]} if name in HINTS else {}
    return {"name": name, "inputSchema": schema, "x-tool": name, **hints}


def _more() -> list[str]:
    """What ``FIXTURE_MORE`` adds to prompts, resources and templates."""
    return [name for name in os.environ.get("FIXTURE_MORE", "").split(",") if name]


def _resources(params: Message) -> Message:
    more = [{"uri": f"fixture://{name}", "name": name} for name in _more()]
    return page("resources", [{"uri": "fixture://greeting", "name": "greeting", "x-r": 1}, *more], params)


def _templates(params: Message) -> Message:
    items = [{"uriTemplate": f"fixture://{name}/{{id}}", "name": name} for name in ("item", *_more())]
    return page("resourceTemplates", items, params)


def _prompts(params: Message) -> Message:
    more = [{"name": name} for name in _more()]
    return page("prompts", [{"name": "greet", "arguments": [{"name": "who"}], "x-p": 1}, *more], params)


def _read(params: Message) -> Message:
    uri = params.get("uri", "")
    if uri == "fixture://greeting" or uri.startswith("fixture://item/"):
        text = f"{os.environ.get('FIXTURE_TEXT', 'content')} of {uri}"
        return {"contents": [{"uri": uri, "mimeType": "text/plain", "text": text}]}
    raise RpcError(-32602, f"Resource not found: {uri}", {"uri": uri})


def _prompt(params: Message) -> Message:
    if params.get("name") != "greet":
        raise RpcError(-32602, f"Unknown prompt: {params.get('name')}")
    who = (params.get("arguments") or {}).get("who", "nobody")
    ttl = (params.get("arguments") or {}).get("ttl")
    hints = {} if ttl is None else {"ttlMs": int(ttl)}
    return {"messages": [_said(f"Hello, {who}")], **hints}


def _said(words: str) -> Message:
    return {"role": "user", "content": {"type": "text", "text": words}}


def _complete(params: Message) -> Message:
    ref, argument = params["ref"], params["argument"]
    values: list[Any] = [f"{ref.get('name') or ref.get('uri')}:{argument['name']}:{argument['value']}"]
    return {"completion": {"values": values, "total": 1, "hasMore": False}}


LISTS: dict[str, Callable[[Message], Message]] = {
    "resources/list": _resources,
    "resources/templates/list": _templates,
    "resources/read": _read,
    "prompts/list": _prompts,
    "prompts/get": _prompt,
    "completion/complete": _complete,
}
