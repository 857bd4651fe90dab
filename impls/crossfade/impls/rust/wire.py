"""The JSON of the native side as the interface's data classes.

The native structs carry the same field names, so this only fills what JSON cannot say: a server that announced no
capabilities, and enumerations.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from crossfade.impls.results import Item
from crossfade.impls.snapshots import DeploymentInfo, Event, Metrics, ServerInfo, StorageInfo
from crossfade.impls.states import ServerState

_decode_map = msgspec.json.Decoder(dict[str, Any]).decode
_decode_maps = msgspec.json.Decoder(list[dict[str, Any]]).decode
_decode_items = msgspec.json.Decoder(list[Item]).decode
_decode_states = msgspec.json.Decoder(dict[str, ServerState]).decode
_decode_event = msgspec.json.Decoder(Event).decode
_decode_deployment = msgspec.json.Decoder(DeploymentInfo).decode
_decode_deployments = msgspec.json.Decoder(list[DeploymentInfo]).decode
_decode_storage = msgspec.json.Decoder(list[StorageInfo]).decode
_decode_metrics = msgspec.json.Decoder(Metrics).decode
_encode = msgspec.json.encode


def server_info(raw: bytes) -> ServerInfo:
    """One server."""
    return _server_info(_decode_map(raw))


def server_infos(raw: bytes) -> list[ServerInfo]:
    """Servers, in order."""
    return [_server_info(entry) for entry in _decode_maps(raw)]


def deployment(raw: bytes) -> DeploymentInfo:
    """One deployment."""
    return _decode_deployment(raw)


def deployments(raw: bytes) -> list[DeploymentInfo]:
    """Deployments, in order."""
    return _decode_deployments(raw)


def storage(raw: bytes) -> list[StorageInfo]:
    """Storage pools."""
    return _decode_storage(raw)


def items(raw: bytes) -> list[Item]:
    """Listed tools, prompts or resources."""
    return _decode_items(raw)


def states(raw: bytes) -> dict[str, ServerState]:
    """States by server name."""
    return _decode_states(raw)


def event(raw: bytes) -> Event:
    """One event."""
    return _decode_event(raw)


def metrics(raw: bytes) -> Metrics:
    """The metrics snapshot."""
    return _decode_metrics(raw)


def call_params(name: str, arguments: Mapping[str, Any] | msgspec.Raw | None, meta: Mapping[str, Any] | None) -> bytes:
    """Parameters of ``tools/call``."""
    if meta is None:
        return _encode({"name": name, "arguments": {} if arguments is None else arguments})
    return _encode({"name": name, "arguments": {} if arguments is None else arguments, "_meta": meta})


def params(**fields: Any) -> bytes:
    """A parameters object; fields that are None are left out."""
    return _encode({key: value for key, value in fields.items() if value is not None})


def _server_info(entry: dict[str, Any]) -> ServerInfo:
    if entry.get("capabilities") is None:
        entry["capabilities"] = {}
    return msgspec.convert(entry, ServerInfo)
