"""Owns the way of one request through a server: which instance it goes to, and whether a second one gets it.

Rule: a request goes to one instance that the breaker admits; it goes to a second one only if the first could not be
connected to, because then nothing was sent.
"""

from __future__ import annotations

from collections.abc import Mapping
from time import monotonic_ns
from typing import TYPE_CHECKING, Any

from crossfade.impls.errors import ServerStartError
from crossfade.impls.python.jsonrpc import encode
from crossfade.impls.python.translate import HOP_KEYS, modern_meta
from crossfade.impls.snapshots import Era

if TYPE_CHECKING:
    from crossfade.impls.python.instance import Headers, Instance, Sessions
    from crossfade.impls.python.server import Server


def encode_params(era: Era, fields: Mapping[str, object], meta: Mapping[str, Any] | None) -> bytes:
    """Params with the ``_meta`` that the era of the server asks for; ``meta`` is the caller's, whatever its own era."""
    if era == "modern":
        return encode({**fields, "_meta": modern_meta(meta)})
    if meta:
        meta = {key: value for key, value in meta.items() if key not in HOP_KEYS}
    return encode({**fields, "_meta": meta} if meta else fields)


class Calls:
    """The requests of one server."""

    __slots__ = ("_server",)

    def __init__(self, server: Server) -> None:
        self._server = server

    async def request(
        self,
        method: str,
        fields: Mapping[str, object],
        *,
        timeout_s: float | None = None,
        meta: Mapping[str, Any] | None = None,
        name: str | None = None,
        sessions: Sessions | None = None,
        extra: Headers = (),
    ) -> bytes:
        """One request, answered with the JSON of ``result``.

        ``name`` is the upstream's name or URI for Mcp-Name, ``extra`` further headers. ``sessions`` holds the caller's
        own sessions with legacy servers, by instance; None is the manager's own.
        """
        server = self._server
        now = monotonic_ns()
        deadline_ns = now + (server.timeout_ns if timeout_s is None else int(timeout_s * 1e9))
        tried: list[Instance] = []
        while True:
            instance = self._own(now, sessions) or server.choose(now, tried)
            try:
                peer = instance.peer
                if peer is None:
                    try:
                        peer = await instance.ready()
                    except BaseException:
                        instance.breaker.forget(monotonic_ns(), monotonic_ns() - now)
                        raise
                params = encode_params(peer.era, fields, meta)
                return await instance.request(method, params, deadline_ns, name=name, sessions=sessions, extra=extra)
            except ServerStartError:
                tried.append(instance)
                if len(tried) >= len(server.instances):
                    raise
                now = monotonic_ns()

    def _own(self, now_ns: int, sessions: Sessions | None) -> Instance | None:
        """The instance that the caller has a session with already."""
        for instance in sessions or ():
            if instance.server is self._server and not instance.retired and instance.breaker.admit(now_ns):
                return instance
        return None
