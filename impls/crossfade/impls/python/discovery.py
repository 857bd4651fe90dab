"""Owns the question which era a server speaks, as pure functions of what it answered; the transports do the asking.

The rule (versioning, "Backward Compatibility" of 2026-07-28): a ``DiscoverResult`` or a recognised modern error means
modern; any other error, or silence, means legacy. It is keyed to no single error code, as legacy servers answer an
unknown first request with anything. The answer is remembered per instance.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from crossfade.impls.config import ServerSpec
from crossfade.impls.errors import ProtocolViolation, ServerStartError
from crossfade.impls.python.jsonrpc import (
    CLIENT_INFO,
    LEGACY,
    MODERN,
    MODERN_CODES,
    UNSUPPORTED_VERSION,
    Answer,
    encode,
    remote_error,
)
from crossfade.impls.python.peer import Peer
from crossfade.impls.python.translate import SERVER_INFO_KEY

INITIALIZE: Final = encode({"protocolVersion": LEGACY[0], "capabilities": {}, "clientInfo": CLIENT_INFO})
"""No capabilities: the manager cannot answer sampling, elicitation or roots for its clients on a shared session."""

_as_object = msgspec.json.Decoder(dict[str, Any]).decode


def modern_peer(answer: Answer | None, spec: ServerSpec) -> Peer | None:
    """The peer if the answer to ``server/discover`` shows a modern server, None for legacy. Raises ServerStartError."""
    refusal = "it gave no JSON-RPC response to server/discover"
    if answer is not None and answer.result is not msgspec.UNSET:
        try:
            result = _as_object(answer.result)
        except msgspec.DecodeError:
            result = {}
        versions = result.get("supportedVersions")
        if isinstance(versions, list):
            if MODERN in versions:
                return _modern(result)
            refusal = f"it supports only {', '.join(map(str, versions))}"
            if spec.era == "auto" and any(version in LEGACY for version in versions):
                return None
            raise _no_era(spec, refusal)
    elif answer is not None and answer.error is not msgspec.UNSET:
        error = remote_error(answer.error, spec.name)
        refusal = f"it answered error {error.remote_code} ({error.message}) to server/discover"
        if error.remote_code in MODERN_CODES:
            supported = error.data.get("supported", ()) if isinstance(error.data, dict) else ()
            legacy = any(version in LEGACY for version in supported)
            if not (error.remote_code == UNSUPPORTED_VERSION and legacy and spec.era == "auto"):
                raise _no_era(spec, refusal)
    if spec.era == "modern":
        raise _no_era(spec, refusal)
    return None


def legacy_peer(result: bytes, server: str) -> Peer:
    """The peer that an ``initialize`` result describes. Raises ProtocolViolation."""
    try:
        fields = _as_object(result)
    except msgspec.DecodeError:
        fields = {}
    version = fields.get("protocolVersion")
    if version not in LEGACY:
        raise ProtocolViolation(
            f"server {server!r} answered initialize with protocol version {version!r}, and crossfade speaks "
            f"{', '.join(LEGACY)}; update the server",
            server=server,
        )
    info = fields.get("serverInfo")
    info = info if isinstance(info, dict) else {}
    return Peer(
        era="legacy",
        version=version,
        capabilities=_dict(fields.get("capabilities")),
        name=info.get("name"),
        release=info.get("version"),
        instructions=fields.get("instructions"),
    )


def _modern(result: dict[str, Any]) -> Peer:
    info = _dict(_dict(result.get("_meta")).get(SERVER_INFO_KEY))
    return Peer(
        era="modern",
        version=MODERN,
        capabilities=_dict(result.get("capabilities")),
        name=info.get("name"),
        release=info.get("version"),
        instructions=result.get("instructions"),
    )


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _no_era(spec: ServerSpec, why: str) -> ServerStartError:
    return ServerStartError(
        f"server {spec.name!r} and crossfade have no protocol version in common (era {spec.era!r}): {why}; "
        "set era to auto, or update the server",
        server=spec.name,
    )
