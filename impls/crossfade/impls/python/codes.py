"""Owns what an error is called on the other side: HTTP statuses for modern clients, and codes with a new number.

Sources: 2026-07-28 streamable-http "Protocol Errors", basic/index "Error Codes", server/resources "Error Handling".
"""

from __future__ import annotations

from typing import Final

from crossfade.impls.python import jsonrpc
from crossfade.impls.python.members import NotAnObject, members

RESOURCE_NOT_FOUND: Final = -32002
"""What legacy servers say; since 2026-07-28 it is -32602."""


def http_status(code: int) -> int:
    """The status of a response to a modern client that carries error ``code``."""
    if code == jsonrpc.METHOD_NOT_FOUND:
        return 404
    return 400 if code in jsonrpc.MODERN_CODES else 200


def code_to_modern(method: str, code: int) -> int:
    """What a legacy server's error ``code`` is called in 2026-07-28."""
    if method == "resources/read" and code == RESOURCE_NOT_FOUND:
        return jsonrpc.INVALID_PARAMS
    return code


def error_to_modern(method: str, raw: bytes) -> bytes:
    """A legacy server's error object as a modern client expects it: only the code may be another.

    What is no object stays as it is.
    """
    try:
        found = members(raw)
    except NotAnObject:
        return raw
    parts: list[bytes] = []
    at = 0
    for member in found:
        if member.key == b'"code"' and raw[member.start : member.end] == b"%d" % RESOURCE_NOT_FOUND:
            code = code_to_modern(method, RESOURCE_NOT_FOUND)
            parts += (raw[at : member.start], b"%d" % code)
            at = member.end
    return b"".join((*parts, raw[at:])) if parts else raw
