"""Owns the differences between the eras, on bytes and without I/O: what a hop adds, strips and renames.

Rule: everything that does not belong to the hop stays as it was, byte for byte; a rewrite is a splice at a span that
:mod:`envelope` found, or a rebuilt ``_meta``. Sources: basic/index "_meta", basic/transports/streamable-http "Request
Metadata", server/utilities/caching of revision 2026-07-28.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from crossfade.impls.errors import ProtocolViolation
from crossfade.impls.python.envelope import CAPABILITIES_KEY, VERSION_KEY
from crossfade.impls.python.jsonrpc import CACHEABLE, CLIENT_INFO, MODERN, encode

INFO_KEY: Final = "io.modelcontextprotocol/clientInfo"
SERVER_INFO_KEY: Final = "io.modelcontextprotocol/serverInfo"
LOG_KEY: Final = "io.modelcontextprotocol/logLevel"
HOP_KEYS: Final = (VERSION_KEY, INFO_KEY, CAPABILITIES_KEY, LOG_KEY)
"""``_meta`` keys that say how client and next hop talk; a legacy server must not see them."""

_OBJECT: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


def modern_meta(caller: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The ``_meta`` of a request to a modern server: all that the caller sent, and what the revision requires.

    Capabilities are the caller's, never the gateway's own: a server may only ask for what the caller can do.
    """
    return {INFO_KEY: CLIENT_INFO, CAPABILITIES_KEY: {}, **(caller or {}), VERSION_KEY: MODERN}


MODERN_META: Final = encode(modern_meta())
DISCOVER: Final = b'{"_meta":' + MODERN_META + b"}"
"""Params of a request to a modern server that has no others."""


def result_to_modern(method: str, raw: bytes) -> bytes:
    """A legacy ``result`` with what a modern client must find: ``resultType``, and the caching hints where they belong.

    A legacy server gave no hint, so the honest one is "stale at once, for nobody else". Raises ProtocolViolation for
    what is no object.
    """
    try:
        present = _OBJECT.decode(raw)
        if not raw.isascii():
            raw.decode()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise ProtocolViolation(f"the result of {method} is no JSON object; update the server") from None
    at = raw.index(b"{")
    added = []
    if "resultType" not in present:
        added.append(b'"resultType":"complete"')
    if method in CACHEABLE:
        if "ttlMs" not in present:
            added.append(b'"ttlMs":0')
        if "cacheScope" not in present:
            added.append(b'"cacheScope":"private"')
    if not added:
        return raw
    return raw[: at + 1] + b",".join(added) + (b"," if present else b"") + raw[at + 1 :]


_SAFE_HEADER: Final = re.compile(r"[\x21-\x7e](?:[\x20-\x7e\t]*[\x21-\x7e])?")


def header_value(text: str) -> str:
    """``text`` as the value of Mcp-Name or Mcp-Param-*: plain where safe, Base64 with its sentinel elsewhere."""
    if _SAFE_HEADER.fullmatch(text) and not (text.startswith("=?base64?") and text.endswith("?=")):
        return text
    return f"=?base64?{base64.b64encode(text.encode()).decode()}?="


def header_text(value: str) -> str | None:
    """What a header value stands for; None if it claims to be Base64 and is not."""
    if not (value.startswith("=?base64?") and value.endswith("?=")):
        return value
    try:
        return base64.b64decode(value[9:-2], validate=True).decode()
    except ValueError:  # binascii.Error and UnicodeDecodeError are
        return None


_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


def header_annotations(schema: Any) -> dict[str, tuple[str, ...]] | None:
    """``x-mcp-header`` names of a tool's input schema with their property paths, or None if one breaks the rules.

    Rules: server/tools "x-mcp-header". A client must drop a tool whose annotations are invalid, or the server and an
    intermediary may read different values.
    """
    found: dict[str, tuple[str, ...]] = {}
    try:
        if not _annotations(schema, (), found, reachable=True):
            return None
    except RecursionError:  # nobody can say what stands so deep in it
        return None
    names = [name.lower() for name in found]
    return found if len(names) == len(set(names)) else None


def _annotations(node: Any, path: tuple[str, ...], found: dict[str, tuple[str, ...]], *, reachable: bool) -> bool:
    if isinstance(node, list):
        return all(_annotations(child, path, found, reachable=False) for child in node)
    if not isinstance(node, dict):
        return True
    if "x-mcp-header" in node:
        name = node["x-mcp-header"]
        primitive = node.get("type") in ("string", "integer", "boolean")
        if not (isinstance(name, str) and _TOKEN.fullmatch(name) and primitive and reachable and path) or name in found:
            return False
        found[name] = path
    for key, child in node.items():
        if key == "properties" and isinstance(child, dict):
            for prop, schema in child.items():
                if not _annotations(schema, (*path, prop), found, reachable=reachable):
                    return False
        elif key not in ("default", "const", "enum", "examples") and not _annotations(
            child, path, found, reachable=False
        ):
            return False
    return True


_SAFE_INTEGER: Final = 2**53 - 1


def arguments_of(raw: msgspec.Raw | bytes) -> Any:
    """The arguments of a call as headers repeat them; None if a number in them is beyond all that Python holds."""
    try:
        return msgspec.json.decode(raw)
    except msgspec.DecodeError:
        return None


def header_params(annotations: dict[str, tuple[str, ...]], arguments: Any) -> list[tuple[str, str]]:
    """The ``Mcp-Param-*`` headers that ``arguments`` call for; values that are absent or null have none, nor have those
    that no annotation can be about (objects, arrays, fractions, integers that JavaScript cannot hold).
    """
    headers: list[tuple[str, str]] = []
    for name, path in annotations.items():
        value = arguments
        for step in path:
            value = value.get(step) if isinstance(value, dict) else None
        text = _plain(value)
        if text is not None:
            headers.append((f"Mcp-Param-{name}", header_value(text)))
    return headers


def header_mismatch(annotations: dict[str, tuple[str, ...]], arguments: Any, headers: Mapping[str, str]) -> str | None:
    """The first header ``Mcp-Param-*`` that is not what ``arguments`` call for, or None; ``headers`` by names in lower
    case. Integers are compared as numbers (streamable-http "Server Validation").
    """
    for name, path in annotations.items():
        value = arguments
        for step in path:
            value = value.get(step) if isinstance(value, dict) else None
        wanted, sent = _plain(value), headers.get(f"mcp-param-{name.lower()}")
        if wanted is None and sent is None:
            continue
        if wanted is None or sent is None or not _SENT.fullmatch(sent):
            return f"Mcp-Param-{name}"
        found = header_text(sent)
        if found != wanted and (found is None or isinstance(value, (str, bool)) or _integer(found) != wanted):
            return f"Mcp-Param-{name}"
    return None


_SENT: Final = re.compile(r"[\x20-\x7e\t]*")


def _integer(text: str) -> str | None:
    """A number in a header as :func:`_plain` writes it."""
    try:
        return _plain(msgspec.json.decode(text, type=int | float))
    except msgspec.DecodeError:
        return None


def _plain(value: Any) -> str | None:
    """A primitive value as text: integers in decimal digits, however they are written."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)) and abs(value) <= _SAFE_INTEGER and value == int(value):
        return str(int(value))
    return None
