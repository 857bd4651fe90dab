"""Owns the building and the reading of JSON-RPC messages as bytes, and what MCP adds to them: versions, codes, methods.

Rule: payloads are ``msgspec.Raw`` on both ways; nothing is decoded that the hop does not need.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from crossfade.impls.errors import CrossfadeError, RateLimited, RemoteError

MODERN: Final = "2026-07-28"
LEGACY: Final = ("2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05")
"""Revisions with a handshake, newest first."""
SUPPORTED: Final = (MODERN, *LEGACY)

PARSE_ERROR: Final = -32700
INVALID_REQUEST: Final = -32600
METHOD_NOT_FOUND: Final = -32601
INVALID_PARAMS: Final = -32602
INTERNAL_ERROR: Final = -32603
HEADER_MISMATCH: Final = -32020
MISSING_CAPABILITY: Final = -32021
UNSUPPORTED_VERSION: Final = -32022
MODERN_CODES: Final = frozenset({HEADER_MISMATCH, MISSING_CAPABILITY, UNSUPPORTED_VERSION})
"""Codes that only a modern server sends (basic/index, "Error Codes"); they settle the era of an upstream."""

LISTS: Final = {
    "tools/list": "tools",
    "prompts/list": "prompts",
    "resources/list": "resources",
    "resources/templates/list": "resourceTemplates",
}
"""List methods and the key that holds the list."""
CACHEABLE: Final = frozenset({*LISTS, "resources/read", "server/discover"})
"""Methods whose modern results carry ``ttlMs`` and ``cacheScope`` (server/utilities/caching)."""
SAFE: Final = frozenset({*CACHEABLE, "prompts/get", "completion/complete", "ping"})
"""Methods without effects: they may be sent again when nobody knows whether the first one arrived."""

CLIENT_INFO: Final = {"name": "crossfade", "version": "0.1.0"}
"""How the manager introduces itself, upstream and downstream."""

encode = msgspec.json.Encoder().encode


class ErrorObject(msgspec.Struct):
    """The ``error`` of a response."""

    code: int
    message: str = ""
    data: Any = msgspec.UNSET


class Answer(msgspec.Struct, gc=False):
    """A message from a server. A response has ``result`` or ``error``; a request or notification has ``method``."""

    id: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    method: str | msgspec.UnsetType = msgspec.UNSET
    result: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    error: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    params: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _Updated(msgspec.Struct):
    uri: str


_decode_updated = msgspec.json.Decoder(_Updated).decode
_decode_answer = msgspec.json.Decoder(Answer).decode
_decode_error = msgspec.json.Decoder(ErrorObject).decode


class NotJsonRpc(ValueError):
    """The bytes are no JSON-RPC message."""


def decode_answer(data: bytes) -> Answer:
    """A message from a server. Raises :class:`NotJsonRpc`, also for JSON that is nested too deeply to be read."""
    try:
        return _decode_answer(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise NotJsonRpc(str(error)) from None


def updated_uri(message: Answer) -> str | None:
    """Which resource ``notifications/resources/updated`` is about, if it says so."""
    try:
        return None if message.params is msgspec.UNSET else _decode_updated(message.params).uri
    except msgspec.DecodeError:
        return None


def request(request_id: int, method: str, params: bytes) -> bytes:
    """A request whose params are JSON already."""
    return b'{"jsonrpc":"2.0","id":%d,"method":"%s","params":%s}' % (request_id, method.encode(), params)


def notification(method: str, params: bytes = b"{}") -> bytes:
    """A notification whose params are JSON already."""
    return b'{"jsonrpc":"2.0","method":"%s","params":%s}' % (method.encode(), params)


def result(request_id: bytes | memoryview, value: bytes | memoryview) -> bytes:
    """A response; both parts are JSON already."""
    return b"".join((b'{"jsonrpc":"2.0","id":', request_id, b',"result":', value, b"}"))


def error(request_id: bytes | memoryview | None, code: int, message: str, data: object = None) -> bytes:
    """An error response. ``request_id`` None is JSON null: the id could not be read."""
    body: dict[str, object] = {"code": code, "message": message}
    if data is not None:
        body["data"] = data
    return raw_error(request_id, encode(body))


def raw_error(request_id: bytes | memoryview | None, value: bytes | memoryview) -> bytes:
    """An error response whose error object is JSON already: what an upstream said, untouched."""
    return b"".join((b'{"jsonrpc":"2.0","id":', request_id or b"null", b',"error":', value, b"}"))


def error_of(request_id: bytes | memoryview | None, failure: CrossfadeError) -> bytes:
    """The response that tells a client of ``failure``; a RemoteError passes through with its own code and data."""
    if isinstance(failure, RemoteError):
        return error(request_id, failure.remote_code, failure.message, failure.data)
    data: dict[str, object] = {"code": failure.code, "server": failure.server, "recovery": failure.recovery}
    if isinstance(failure, RateLimited):
        data["retryAfterMs"] = failure.retry_after_ms
    return error(request_id, failure.rpc_code, failure.message, data)


def remote_error(raw: bytes | memoryview, server: str) -> RemoteError:
    """The exception for an error object that a server sent, whatever its shape."""
    try:
        found = _decode_error(raw)
    except msgspec.DecodeError:
        return RemoteError(f"server {server!r} sent an error object without code: {bytes(raw)[:200]!r}", server=server)
    data = None if found.data is msgspec.UNSET else found.data
    return RemoteError(found.message, server=server, remote_code=found.code, data=data)


def params_of(fields: Mapping[str, object]) -> bytes:
    """Params as JSON; fields that are None are left out."""
    return encode({key: value for key, value in fields.items() if value is not None})
