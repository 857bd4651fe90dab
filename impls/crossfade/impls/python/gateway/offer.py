"""Owns what the gateway says of itself: the answers to ``initialize`` and ``server/discover``.

Rule: it offers what it can pass on of what its servers offer, and what it adds: lists change with the registry, so that
it tells of changes also where a server does not. It speaks for servers that it knows, so it meets them first; one that
is late is left out, and its lists are told of when it comes.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from crossfade.impls.python import jsonrpc
from crossfade.impls.python.jsonrpc import SUPPORTED
from crossfade.impls.python.translate import SERVER_INFO_KEY

if TYPE_CHECKING:
    from collections.abc import Iterable

    from crossfade.impls.python.server import Server

_PATIENCE_S: Final = 5.0
_LISTED: Final = ("tools", "prompts", "resources")


def strangers(servers: Iterable[Server]) -> bool:
    """Whether there are servers that nobody has met yet."""
    return any(server.peer is None for server in servers)


async def meet(servers: Iterable[Server]) -> None:
    """Find out what is not known yet of the servers, within bounds; what fails is told to whoever calls it."""
    waiting = [asyncio.ensure_future(s.instances[0].ready()) for s in servers if s.peer is None and s.instances]
    if not waiting:
        return
    try:
        await asyncio.wait(waiting, timeout=_PATIENCE_S)
    finally:
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


def capabilities(servers: Iterable[Server]) -> dict[str, Any]:
    """The union of what the servers offer."""
    found: dict[str, Any] = {}
    for server in servers:
        theirs = server.peer.capabilities if server.peer is not None else {}
        for key in _LISTED:
            if key in theirs:
                found.setdefault(key, {"listChanged": True})
        resources = theirs.get("resources")
        if isinstance(resources, dict) and resources.get("subscribe") is True:
            found["resources"]["subscribe"] = True
        for key in ("completions", "logging"):
            if key in theirs:
                found[key] = {}
    return found


def instructions(servers: Iterable[Server]) -> str | None:
    """The servers' instructions under their names."""
    parts = [f"{s.spec.name}: {s.peer.instructions}" for s in servers if s.peer is not None and s.peer.instructions]
    return "\n\n".join(parts) or None


def initialize(servers: list[Server], agreed: str) -> bytes:
    """The result of ``initialize``."""
    result: dict[str, Any] = {
        "protocolVersion": agreed,
        "capabilities": capabilities(servers),
        "serverInfo": jsonrpc.CLIENT_INFO,
    }
    return _instructed(servers, result)


def discover(servers: list[Server]) -> bytes:
    """The result of ``server/discover``; its versions are those that error -32022 names."""
    result: dict[str, Any] = {
        "resultType": "complete",
        "supportedVersions": list(SUPPORTED),
        "capabilities": capabilities(servers),
        "_meta": {SERVER_INFO_KEY: jsonrpc.CLIENT_INFO},
        "ttlMs": 0,
        "cacheScope": "private",
    }
    return _instructed(servers, result)


def _instructed(servers: list[Server], result: dict[str, Any]) -> bytes:
    text = instructions(servers)
    return jsonrpc.encode(result if text is None else {**result, "instructions": text})
