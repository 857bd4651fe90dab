"""Owns the way from the name in a request to a server, remembered by the very bytes of the name.

Rule: a name that is written in an unusual way (escapes) is decoded and looked up like any other, only not remembered;
the memory is bounded, because names come from clients.
"""

from __future__ import annotations

from typing import Final

import msgspec

from crossfade.impls.python.catalog import Catalog
from crossfade.impls.python.server import Server
from crossfade.impls.python.translate import header_value

_REMEMBERED: Final = 4096
_text = msgspec.json.Decoder(str).decode


class Route:
    """Where a tool name leads. ``raw`` is the own name as JSON, ``header`` the line for Mcp-Name."""

    __slots__ = ("exposed", "header", "http", "own", "raw", "server")

    def __init__(self, server: Server, exposed: str, own: str) -> None:
        self.server = server
        self.exposed = exposed
        self.own = own
        self.raw = msgspec.json.encode(own)
        self.header = f"Mcp-Name: {header_value(own)}\r\n".encode()
        self.http = server.spec.transport == "http"


class Routes:
    """Routes of tools by raw JSON name."""

    __slots__ = ("_catalog", "_known")

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._known: dict[bytes, Route] = {}

    def clear(self) -> None:
        """The registry has changed."""
        self._known.clear()

    def get(self, raw: bytes) -> Route | None:
        """The remembered route."""
        return self._known.get(raw)

    def find(self, raw: bytes) -> Route | None:
        """The route as far as the name tells; None if its server must be asked first. Raises UnknownTarget."""
        exposed = _text(raw)
        if self._catalog.is_unknown_short(exposed, "tools/list"):
            return None
        server, own = self._catalog.locate(exposed, "tools/list")
        return self._remember(raw, Route(server, exposed, own))

    async def ask(self, raw: bytes) -> Route:
        """The route of a shortened name. Raises UnknownTarget, or what the server's list fails with."""
        exposed = _text(raw)
        server, own = await self._catalog.resolve(exposed, "tools/list")
        return self._remember(raw, Route(server, exposed, own))

    def _remember(self, raw: bytes, route: Route) -> Route:
        if b"\\" not in raw:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[raw] = route
        return route
