"""Owns the bytes of the HTTP responses that the gateway makes itself."""

from __future__ import annotations

import http
from typing import Final, NamedTuple

from crossfade.impls.python import jsonrpc, session_rules
from crossfade.impls.python.gateway.access import Refusal

JSON: Final = "application/json"


class HttpAnswer(NamedTuple):
    """A whole response. ``headers`` are lines without line ends.

    Of a ``bare`` one only the head is sent: what HEAD asked for (RFC 9110 section 9.3.2). A body would be read as the
    next answer.
    """

    status: int
    body: bytes = b""
    kind: str = JSON
    headers: tuple[str, ...] = ()
    bare: bool = False


ACCEPTED: Final = HttpAnswer(202)
_OK: Final = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: "


def encode(answer: HttpAnswer, *, keep_alive: bool) -> bytes:
    """The bytes to send."""
    if keep_alive and answer.status == 200 and answer.kind == JSON and not answer.headers and not answer.bare:
        return b"%b%d\r\n\r\n%b" % (_OK, len(answer.body), answer.body)
    lines = [f"HTTP/1.1 {answer.status} {_phrase(answer.status)}"]
    if answer.body:
        lines.append(f"Content-Type: {answer.kind}")
    if answer.status != 204:  # it says no length (RFC 9110 section 8.6)
        lines.append(f"Content-Length: {len(answer.body)}")
    lines += answer.headers
    if not keep_alive:
        lines.append("Connection: close")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + (b"" if answer.bare else answer.body)


def refuse(refusal: Refusal) -> HttpAnswer:
    """A refusal as a response: a JSON-RPC error without id, as the transport suggests."""
    headers = (f"Allow: {refusal.allow}",) if refusal.allow else ()
    body = jsonrpc.error(None, jsonrpc.INVALID_REQUEST, refusal.why)
    return HttpAnswer(refusal.status, body, headers=headers)


def refused(raw_id: bytes | None, refusal: session_rules.Refusal) -> HttpAnswer:
    """The answer to a message that is not served; ``raw_id`` None if it is no request."""
    body = jsonrpc.error(raw_id, refusal.code, refusal.message, refusal.data)
    return HttpAnswer(refusal.status, body)


def not_found(raw_id: bytes | None, method: str) -> HttpAnswer:
    """The answer to a method that nobody implements: 404 with a JSON-RPC body tells it from a missing endpoint."""
    body = jsonrpc.error(raw_id, jsonrpc.METHOD_NOT_FOUND, f"Method not found: {method}")
    return HttpAnswer(404, body)


def _phrase(status: int) -> str:
    try:
        return http.HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"
