"""Owns what a modern client's request must carry.

Rule: what stands in the headers and in the body must be the same (streamable-http "Server Validation"): a gateway
before us may have routed by the one, and the server behind us acts on the other.
"""

from __future__ import annotations

from typing import Final

import msgspec

from crossfade.impls.python import jsonrpc
from crossfade.impls.python.envelope import CAPABILITIES_KEY, VERSION_KEY, Message
from crossfade.impls.python.gateway.http_answer import HttpAnswer
from crossfade.impls.python.http_head import RequestHead
from crossfade.impls.python.jsonrpc import MODERN
from crossfade.impls.python.translate import header_text

NAMED: Final = frozenset({"tools/call", "prompts/get", "resources/read"})
_text = msgspec.json.Decoder(str).decode


def is_modern(head: RequestHead, message: Message) -> bool:
    """Whether the request means revision 2026-07-28 or later: its ``_meta`` says a version, or its header that one."""
    params = message.params
    has_meta = (
        params is not msgspec.UNSET and params.meta is not msgspec.UNSET and params.meta.version is not msgspec.UNSET
    )
    return has_meta or head.version == MODERN


def refuse(head: RequestHead, message: Message, raw_id: bytes | None) -> HttpAnswer | None:  # noqa: PLR0911  one return per rule
    """The answer to a request that is not well-formed, or None if it is."""
    params = message.params
    meta = params.meta if params is not msgspec.UNSET else msgspec.UNSET
    version = meta.version if meta is not msgspec.UNSET else msgspec.UNSET
    if version is msgspec.UNSET:
        return _bad(raw_id, jsonrpc.INVALID_PARAMS, f"params._meta lacks {VERSION_KEY}; send it with every request")
    if head.version is None:
        return _mismatch(raw_id, f"the header MCP-Protocol-Version is missing; the body says {version!r}")
    if head.version != version:
        return _mismatch(
            raw_id, f"MCP-Protocol-Version header value {head.version!r} does not match body value {version!r}"
        )
    if version != MODERN:
        data = {"supported": list(jsonrpc.SUPPORTED), "requested": version}
        body = jsonrpc.error(raw_id, jsonrpc.UNSUPPORTED_VERSION, "Unsupported protocol version", data)
        return HttpAnswer(400, body)
    if meta is msgspec.UNSET or meta.capabilities is msgspec.UNSET:
        return _bad(
            raw_id, jsonrpc.INVALID_PARAMS, f"params._meta lacks {CAPABILITIES_KEY}; send it with every request"
        )
    if not bytes(meta.capabilities).lstrip().startswith(b"{"):
        return _bad(raw_id, jsonrpc.INVALID_PARAMS, f"{CAPABILITIES_KEY} must be an object; send an object")
    if head.mcp_method is None:
        return _mismatch(raw_id, f"the header Mcp-Method is missing; the body says {message.method!r}")
    if head.mcp_method != message.method:
        return _mismatch(
            raw_id, f"Mcp-Method header value {head.mcp_method!r} does not match body value {message.method!r}"
        )
    if message.method in NAMED:
        return _check_name(head, message, raw_id)
    return None


def _check_name(head: RequestHead, message: Message, raw_id: bytes | None) -> HttpAnswer | None:
    params = message.params
    assert params is not msgspec.UNSET  # noqa: S101  it has _meta
    field = "uri" if message.method == "resources/read" else "name"
    raw = params.uri if field == "uri" else params.name
    name: str | None = None
    if raw is not msgspec.UNSET:
        try:
            name = _text(raw)
        except msgspec.DecodeError:
            name = None
    if name is None:
        return None  # nothing to compare; whoever routes it says what is missing
    if head.mcp_name is None:
        return _mismatch(raw_id, f"the header Mcp-Name is missing; the body says {name!r}")
    if header_text(head.mcp_name) != name:
        return _mismatch(raw_id, f"Mcp-Name header value {head.mcp_name!r} does not match body value {name!r}")
    return None


def _mismatch(raw_id: bytes | None, why: str) -> HttpAnswer:
    return _bad(raw_id, jsonrpc.HEADER_MISMATCH, f"Header mismatch: {why}")


def _bad(raw_id: bytes | None, code: int, why: str) -> HttpAnswer:
    return HttpAnswer(400, jsonrpc.error(raw_id, code, why))


def not_found(raw_id: bytes | None, method: str) -> HttpAnswer:
    """The answer to a method that nobody implements: 404 with a JSON-RPC body tells it from a missing endpoint."""
    body = jsonrpc.error(raw_id, jsonrpc.METHOD_NOT_FOUND, f"Method not found: {method}")
    return HttpAnswer(404, body)
