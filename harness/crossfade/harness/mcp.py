"""The words of the protocol that the fleet, the generator and the probe share: revisions, metadata, answers in SSE.

The rule: no code of the variants is used here, or a mistake of theirs would be measured as correct.
"""

from __future__ import annotations

from typing import Any

MODERN = "2026-07-28"
LEGACY = ("2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05")
"""Revisions with sessions, newest first."""
META = "io.modelcontextprotocol/"
"""Before each key of a modern request's ``_meta``."""


def request_meta(client: dict[str, str]) -> dict[str, Any]:
    """What every modern request carries as ``params._meta``; ``client`` is name and version."""
    meta = {"protocolVersion": MODERN, "clientInfo": client, "clientCapabilities": {}}
    return {META + key: value for key, value in meta.items()}


def initialize_params(client: dict[str, str]) -> dict[str, Any]:
    """What a legacy client introduces itself with."""
    return {"protocolVersion": LEGACY[0], "capabilities": {}, "clientInfo": client}


def answering_event(body: bytes) -> bytes:
    """The data of the event that answers: the last one with a result or an error; empty if none."""
    return answering_events(body)[-1]


def answering_events(body: bytes) -> list[bytes]:
    """The data of the events without result or error, and last the data of the one that answers (empty if none)."""
    others, found = [], b""
    for event in body.replace(b"\r\n", b"\n").split(b"\n\n"):
        lines = [line[5:].removeprefix(b" ") for line in event.split(b"\n") if line.startswith(b"data:")]
        data = b"\n".join(lines)
        if b'"result"' in data or b'"error"' in data:
            found = data
        elif data:
            others.append(data)
    return [*others, found]
