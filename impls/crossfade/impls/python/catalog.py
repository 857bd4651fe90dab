"""Owns what the servers offer under one roof: lists with exposed names, and the way back from a name or URI to its
server.

Rules: a list asks all servers at once and each page by page; a server that fails is left out unless it was named.
Nothing is cached but the way back: shortened names and URIs, which cannot be read off themselves.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from crossfade.impls import names
from crossfade.impls.errors import CrossfadeError, ProtocolViolation, RemoteError, ServerNotFound, UnknownTarget
from crossfade.impls.python.jsonrpc import LISTS, METHOD_NOT_FOUND
from crossfade.impls.python.server import Server
from crossfade.impls.python.translate import header_annotations, header_params
from crossfade.impls.results import Item

MAX_PAGES: Final = 1000
_CAPABILITY: Final = {
    "tools/list": "tools",
    "prompts/list": "prompts",
    "resources/list": "resources",
    "resources/templates/list": "resources",
}
_page = msgspec.json.Decoder(dict[str, Any]).decode

Annotations = dict[str, tuple[str, ...]]


class Catalog:
    """Names and URIs of all registered servers. ``servers`` is the registry itself, read at each use."""

    __slots__ = ("_servers", "_short", "_templates", "_uris", "annotations", "prefix")

    def __init__(self, servers: Mapping[str, Server], *, prefix: bool) -> None:
        self._servers = servers
        self.prefix = prefix
        self._short: dict[tuple[str, str], str] = {}
        self._uris: dict[str, str] = {}
        self._templates: dict[str, tuple[re.Pattern[str], str]] = {}
        self.annotations: dict[tuple[str, str], Annotations] = {}

    def forget(self, server: str) -> None:
        """The server is gone."""
        self._short = {key: value for key, value in self._short.items() if key[0] != server}
        self._uris = {uri: owner for uri, owner in self._uris.items() if owner != server}
        self._templates = {t: entry for t, entry in self._templates.items() if entry[1] != server}
        self.annotations = {key: value for key, value in self.annotations.items() if key[0] != server}

    def server(self, name: str) -> Server:
        """Raises ServerNotFound."""
        try:
            return self._servers[name]
        except KeyError:
            known = ", ".join(self._servers) or "none"
            raise ServerNotFound(
                f"no server {name!r} is registered (registered: {known}); register it, or fix the name", server=name
            ) from None

    # -- lists

    async def items(self, method: str, server: str | None = None, *, principal: str | None = None) -> list[Item]:
        """All items of a list method, of all servers or of one. With one, its failure is raised.

        ``principal`` is who asks; None is the manager itself, which rate limits are not for.
        """
        if server is not None:
            return await self._items_of(self.server(server), method, principal)
        servers = list(self._servers.values())
        found = await asyncio.gather(*(self._items_of(s, method, principal) for s in servers), return_exceptions=True)
        items: list[Item] = []
        for part in found:
            if isinstance(part, CrossfadeError):
                continue
            if isinstance(part, BaseException):
                raise part
            items += part
        return items

    async def _items_of(self, server: Server, method: str, principal: str | None = None) -> list[Item]:
        server.calls.admit(None, principal)
        peer = server.peer
        if peer is not None and _CAPABILITY[method] not in peer.capabilities:
            return []
        key = LISTS[method]
        name = server.spec.name
        items: list[Item] = []
        cursor: object = None
        for _ in range(MAX_PAGES):
            try:
                raw = await server.calls.request(method, {} if cursor is None else {"cursor": cursor})
            except RemoteError as error:
                if error.remote_code == METHOD_NOT_FOUND:
                    return []
                raise
            page = _read_page(raw, key, name)
            items += [item for entry in page[key] if (item := self._item(server, method, entry)) is not None]
            cursor = page.get("nextCursor")
            if cursor is None:
                return items
        raise ProtocolViolation(
            f"server {name!r} sent more than {MAX_PAGES} pages to {method}; look at its cursors", server=name
        )

    def _item(self, server: Server, method: str, entry: Any) -> Item | None:
        if not isinstance(entry, dict):
            return None
        owner = server.spec.name
        if method == "resources/list":
            self._uris.setdefault(str(entry.get("uri")), owner)
            return Item(owner, str(entry.get("name", entry.get("uri"))), entry)
        if method == "resources/templates/list":
            template = str(entry.get("uriTemplate"))
            self._templates.setdefault(template, (_template_pattern(template), owner))
            return Item(owner, str(entry.get("name", template)), entry)
        own = entry.get("name")
        if not isinstance(own, str):
            return None
        if method == "tools/list" and server.spec.transport == "http" and _is_modern(server):
            annotations = header_annotations(entry.get("inputSchema"))
            if annotations is None:
                return None
            self.annotations[owner, own] = annotations
        shown = names.exposed(owner, own) if self.prefix else own
        if self.prefix and names.is_shortened(shown):
            self._short[owner, shown] = own
        return Item(owner, shown, {**entry, "name": shown})

    def param_headers(self, server: str, tool: str, arguments: object) -> list[tuple[str, str]]:
        """The ``Mcp-Param-*`` headers of a call, as far as the tool's definition has been listed."""
        annotations = self.annotations.get((server, tool))
        if not annotations:
            return []
        if isinstance(arguments, msgspec.Raw):
            arguments = msgspec.json.decode(arguments)
        return header_params(annotations, arguments)

    # -- the way back

    def locate(self, exposed: str) -> tuple[Server, str]:
        """Server and own name of an exposed tool or prompt name. Raises UnknownTarget."""
        if not self.prefix:
            for server in self._servers.values():
                return server, exposed
            raise UnknownTarget(f"nothing offers {exposed!r}: no server is registered; register one")
        parts = names.split(exposed)
        server_found = self._servers.get(parts[0]) if parts else None
        if parts is None or server_found is None:
            known = ", ".join(self._servers) or "none"
            raise UnknownTarget(
                f"nothing offers {exposed!r}: names have the form server__name, and the servers are: {known}; "
                "list the tools to see what there is"
            )
        return server_found, self._short.get((parts[0], exposed), parts[1])

    def is_unknown_short(self, exposed: str) -> bool:
        """Whether the name looks shortened and nobody has listed what it stands for."""
        if not self.prefix or not names.is_shortened(exposed):
            return False
        parts = names.split(exposed)
        return parts is not None and (parts[0], exposed) not in self._short

    async def resolve(self, exposed: str, method: str) -> tuple[Server, str]:
        """As ``locate``; asks the server for its list first if the name looks shortened and was never listed."""
        server, own = self.locate(exposed)
        if self.is_unknown_short(exposed):
            await self._items_of(server, method)
            server, own = self.locate(exposed)
        return server, own

    async def owner(self, uri: str) -> Server:
        """The server that lists ``uri`` or a template that matches it. Raises UnknownTarget."""
        found = self._known_owner(uri)
        if found is None:
            if len(self._servers) == 1:
                return next(iter(self._servers.values()))
            await asyncio.gather(self.items("resources/list"), self.items("resources/templates/list"))
            found = self._known_owner(uri)
        if found is None:
            raise UnknownTarget(f"no server lists the resource {uri!r}, or a template for it; name the server")
        return found

    def _known_owner(self, uri: str) -> Server | None:
        name = self._uris.get(uri)
        if name is None:
            name = next((owner for pattern, owner in self._templates.values() if pattern.fullmatch(uri)), None)
        return self._servers.get(name) if name is not None else None


def _is_modern(server: Server) -> bool:
    return server.peer is not None and server.peer.era == "modern"


def _read_page(raw: bytes, key: str, server: str) -> dict[str, Any]:
    try:
        page = _page(raw)
    except msgspec.DecodeError as error:
        raise ProtocolViolation(
            f"server {server!r} sent a list that is no object ({error}); look at it", server=server
        ) from None
    if not isinstance(page.get(key), list):
        raise ProtocolViolation(f"server {server!r} sent a list without {key!r}; look at the server", server=server)
    return page


def _template_pattern(template: str) -> re.Pattern[str]:
    """An RFC 6570 template as a pattern: ``{+x}`` and ``{/x*}`` may span segments, ``{x}`` does not."""
    parts = re.split(r"\{([^}]*)\}", template)
    pattern = ""
    for index, part in enumerate(parts):
        if index % 2 == 0:
            pattern += re.escape(part)
        else:
            pattern += ".*" if part[:1] in ("+", "#", "/", "?", "&", ".", ";") or part.endswith("*") else "[^/]+"
    return re.compile(pattern)
