"""Owns what a message must carry to be served, and as what: its era, its session, and what its headers repeat.

Rule: pure functions of headers and envelope, which the faces call before they do anything; ``translate::session`` of
the Rust runtime is their mirror, and the vectors ``session.*`` and ``modern.*`` hold the two equal. Sources: 2026-07-28
basic/versioning, basic/index "_meta", streamable-http "Server Validation"; 2025-11-25 basic/transports "Session
Management" and "Protocol Version Header", basic/lifecycle "Version Negotiation".
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple, Protocol

import msgspec

from crossfade.impls.python import jsonrpc
from crossfade.impls.python.envelope import CAPABILITIES_KEY, VERSION_KEY, Message, Meta
from crossfade.impls.python.jsonrpc import LEGACY, MODERN
from crossfade.impls.python.translate import header_text

NAMED: Final = frozenset({"tools/call", "prompts/get", "resources/read"})
"""Methods whose ``name`` or ``uri`` the header Mcp-Name repeats."""
NO_PARAMS: Final = "initialize needs params with protocolVersion; send them"
_VISIBLE: Final = re.compile(r"[!-~]+")
_UNSET: Final = msgspec.UNSET
_text = msgspec.json.Decoder(str).decode


class _Hello(msgspec.Struct):
    """What ``initialize`` asks for."""

    version: msgspec.Raw | msgspec.UnsetType = msgspec.field(default=msgspec.UNSET, name="protocolVersion")


_hello = msgspec.json.Decoder(_Hello).decode


class Refusal(NamedTuple):
    """Why a message is not served: the HTTP status, and code, message and ``data`` of the JSON-RPC error."""

    status: int
    code: int
    message: str
    data: dict[str, object] | None = None


class Headers(Protocol):
    """The headers of a POST that repeat what its body says."""

    @property
    def version(self) -> str | None: ...
    @property
    def mcp_method(self) -> str | None: ...
    @property
    def mcp_name(self) -> str | None: ...


def is_modern(version: str | None, message: Message) -> bool:
    """Whether a message is of the stateless era: its version header says so, or its ``_meta`` names a version.

    ``initialize`` selects the legacy era whatever its ``_meta`` says (basic/versioning, "Compatibility Matrix").
    """
    if version == MODERN:
        return True
    params = message.params
    if params is _UNSET or params.meta is _UNSET or params.meta.version is _UNSET:
        return False
    return message.method is not _UNSET and message.method != "initialize"


# -- the legacy era


def verdict(version: str | None, *, held: bool, known: bool) -> Refusal | None:
    """Why a legacy message that is no ``initialize`` is not served, whatever its HTTP method.

    ``version`` is its header, ``held`` whether it names a session, ``known`` whether that session lives. A version that
    is not spoken is told first: it is 400 in any session.
    """
    if version is not None and version not in LEGACY:
        return _unsupported(version)
    if not held:
        why = "Mcp-Session-Id is missing; send initialize first, then its session id"
        return Refusal(400, jsonrpc.INVALID_REQUEST, why)
    if not known:
        return Refusal(404, jsonrpc.INVALID_REQUEST, "the session is unknown or over; send initialize again")
    return None


def agree(params: bytes | None) -> str | None:
    """The revision that ``initialize`` agrees on: the one asked for if it has a handshake, else the newest that has.

    None if there are no params. The version header has no say: the client owes it from the next request on.
    """
    if params is None:
        return None
    try:
        hello = _hello(params)
        asked = None if hello.version is _UNSET else _text(hello.version)
    except msgspec.DecodeError:
        asked = None
    return asked if asked in LEGACY else LEGACY[0]


def session_id(value: str | None) -> str | None:
    """The session id that a server's header gives: visible ASCII, or there is none that could be sent back."""
    return value if value is not None and _VISIBLE.fullmatch(value) else None


# -- the modern era


def modern_verdict(headers: Headers | None, message: Message) -> Refusal | None:  # noqa: PLR0911  one return per rule
    """Why a modern message is not served. ``headers`` is None where there is no header layer (stdio).

    The version comes first, because only it says which other rules hold; then what a request must carry, then what its
    headers repeat (bytes that a header may not hold repeat nothing). A notification owes neither ``_meta`` nor headers
    (schema, ``NotificationParams``; streamable-http, "Sending Messages"), but what it has of them must not disagree.
    """
    if message.method is _UNSET:
        why = "clients of this revision send no responses; send requests"
        return Refusal(400, jsonrpc.INVALID_REQUEST, why)
    params = message.params
    meta = _UNSET if params is _UNSET else params.meta
    version = _UNSET if meta is _UNSET else meta.version
    is_request = message.id is not _UNSET
    if version is not _UNSET:
        if headers is not None and (headers.version != version or not version.isascii()):
            return _mismatch("MCP-Protocol-Version", headers.version, version)
        if version != MODERN:
            return _unsupported(version)
    elif is_request:
        return _lacks(VERSION_KEY)
    if is_request and not _has_capabilities(meta):
        return _lacks(CAPABILITIES_KEY)
    if headers is None:
        return None
    sent, method = headers.mcp_method, message.method
    if (is_request or sent is not None) and (sent != method or not method.isascii()):
        return _mismatch("Mcp-Method", sent, method)
    return _name_verdict(headers.mcp_name, message) if is_request and method in NAMED else None


def _name_verdict(sent: str | None, message: Message) -> Refusal | None:
    params = message.params
    assert params is not _UNSET  # noqa: S101  it has _meta
    raw = params.uri if message.method == "resources/read" else params.name
    try:
        name = None if raw is _UNSET else _text(raw)
    except msgspec.DecodeError:
        name = None
    if name is None:
        return None  # nothing to compare; whoever routes it says what is missing
    if sent is None or not sent.isascii() or header_text(sent) != name:
        return _mismatch("Mcp-Name", sent, name)
    return None


def _has_capabilities(meta: Meta | msgspec.UnsetType) -> bool:
    """Whether they are there, and an object."""
    if meta is _UNSET or meta.capabilities is _UNSET:
        return False
    return bytes(meta.capabilities).lstrip().startswith(b"{")


def _lacks(key: str) -> Refusal:
    what = "a string" if key == VERSION_KEY else "an object"
    return Refusal(400, jsonrpc.INVALID_PARAMS, f"params._meta lacks {key} ({what}); send it with every request")


def _mismatch(name: str, sent: str | None, said: str) -> Refusal:
    if sent is None:
        why = f"Header mismatch: the header {name} is missing; send the body's value {said!r}"
    else:
        why = f"Header mismatch: {name} header value {sent!r} does not match body value {said!r}; send the same"
    return Refusal(400, jsonrpc.HEADER_MISMATCH, why)


def _unsupported(version: str) -> Refusal:
    data: dict[str, object] = {"supported": list(jsonrpc.SUPPORTED), "requested": version}
    return Refusal(400, jsonrpc.UNSUPPORTED_VERSION, "Unsupported protocol version", data)
