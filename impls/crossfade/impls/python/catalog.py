"""Owns the way from what is shown to where it is: exposed names, URIs and templates to servers and their own names.

Rules: what a server's filters hide leads nowhere, whoever asks and however; nothing is remembered but what cannot be
read off a name: shortened names, URIs, and the headers that tools want. ``listing`` asks the servers.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from crossfade.impls import names
from crossfade.impls.config import ServerSpec
from crossfade.impls.errors import ConfigError, ServerNotFound, UnknownTarget
from crossfade.impls.filters import Filter
from crossfade.impls.python import listing
from crossfade.impls.python.server import Server
from crossfade.impls.python.translate import arguments_of, header_annotations, header_params
from crossfade.impls.results import Item

Annotations = dict[str, tuple[str, ...]]
_KEYS: Final = {"tools/list": "tools", "prompts/list": "prompts"}
"""List methods whose items are called by name, and the key of their filter."""


class Catalog:
    """Names and URIs of all registered servers. ``servers`` is the registry itself, read at each use; ``errors`` counts
    what a server of several failed with.
    """

    __slots__ = ("_filters", "_forgets", "_servers", "_short", "_templates", "_uris", "annotations", "errors", "prefix")

    def __init__(self, servers: Mapping[str, Server], *, prefix: bool, errors: Counter[str]) -> None:
        self._servers = servers
        self.prefix = prefix
        self.errors = errors
        self._filters: dict[str, tuple[ServerSpec, dict[str, Filter]]] = {}
        self._short: dict[tuple[str, str, str], str] = {}
        self._forgets = 0
        self._uris: dict[str, str] = {}
        self._templates: dict[str, tuple[re.Pattern[str], str]] = {}
        self.annotations: dict[tuple[str, str], Annotations] = {}

    def forget(self, server: str) -> None:
        """The server is gone, or is another one now. Whoever is reading its lists meanwhile must read them again."""
        self._forgets += 1
        self._filters.pop(server, None)
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

    def filter(self, server: Server, key: str) -> Filter:
        """What a server shows of its ``tools``, ``prompts`` or ``resources``."""
        spec = server.spec
        known = self._filters.get(spec.name)
        if known is None or known[0] is not spec:
            known = spec, {k: Filter(getattr(spec, k)) for k in ("tools", "prompts", "resources")}
            self._filters[spec.name] = known
        return known[1][key]

    # -- lists

    async def items(self, method: str, server: str | None = None, *, principal: str | None = None) -> list[Item]:
        """All items of a list method, of all servers or of one. With one, its failure is raised.

        ``principal`` is who asks; None is the manager itself, which rate limits are not for.
        """
        if server is not None:
            return await listing.read(self, self.server(server), method, principal)
        return (await self.listing(method, principal)).items

    async def listing(self, method: str, principal: str | None = None) -> listing.Listing:
        """All items of all servers, and which servers are missing."""
        return await listing.read_all(self, list(self._servers.values()), method, principal)

    def item(self, server: Server, method: str, entry: Any) -> Item | None:
        """One entry of a list as it is shown, or None if it is not. Raises ConfigError if an alias hides it."""
        if not isinstance(entry, dict):
            return None
        owner = server.spec.name
        if method not in _KEYS:
            return self._resource(server, method, entry)
        own = entry.get("name")
        if not isinstance(own, str):
            return None
        if method == "tools/list":
            server.calls.repeating.learn(own, entry.get("annotations"))
        rule = self.filter(server, _KEYS[method])
        bare = rule.shown(own)
        if bare is None:
            return None
        if (other := rule.clash(own)) is not None:
            raise ConfigError(
                f"server {owner!r}: {_KEYS[method]}.alias gives {other!r} the name {own!r}, and the server has a "
                f"{own!r} of its own; choose another alias, or deny {own!r}",
                server=owner,
            )
        if method == "tools/list":
            annotations = header_annotations(entry.get("inputSchema"))
            if annotations is None and server.spec.transport == "http" and _is_modern(server):
                return None
            self.annotations[owner, own] = annotations or {}
        shown = names.exposed(owner, bare) if self.prefix else bare
        if self.prefix and names.is_shortened(shown):
            self._short[owner, method, shown] = own
        return Item(owner, shown, {**entry, "name": shown})

    def _resource(self, server: Server, method: str, entry: dict[str, Any]) -> Item | None:
        owner = server.spec.name
        is_template = method == "resources/templates/list"
        uri = str(entry.get("uriTemplate" if is_template else "uri"))
        if not self.filter(server, "resources").shows(uri):
            return None
        if is_template:
            self._templates.setdefault(uri, (_template_pattern(uri), owner))
        else:
            self._uris.setdefault(uri, owner)
        return Item(owner, str(entry.get("name", uri)), entry)

    def param_headers(self, server: str, tool: str, arguments: object) -> list[tuple[str, str]]:
        """The ``Mcp-Param-*`` headers of a call, as far as the tool's definition has been listed."""
        annotations = self.annotations.get((server, tool))
        if not annotations or not _is_modern(self.server(server)):
            return []
        if isinstance(arguments, msgspec.Raw):
            arguments = arguments_of(arguments)
        return header_params(annotations, arguments)

    # -- the way back

    def locate(self, exposed: str, method: str) -> tuple[Server, str]:
        """Server and own name of what the list ``method`` shows as ``exposed``. Raises UnknownTarget."""
        if not self.prefix:
            for server in self._servers.values():
                return server, self._own(server, exposed, exposed, method)
            raise UnknownTarget(f"nothing offers {exposed!r}: no server is registered; register one")
        parts = names.split(exposed)
        found = self._servers.get(parts[0]) if parts else None
        if parts is None or found is None:
            known = ", ".join(self._servers) or "none"
            raise UnknownTarget(
                f"nothing offers {exposed!r}: names have the form server__name, and the servers are: {known}; "
                "list the tools to see what there is"
            )
        short = self._short.get((parts[0], method, exposed))
        return found, self._own(found, parts[1], exposed, method) if short is None else short

    def _own(self, server: Server, bare: str, exposed: str, method: str) -> str:
        own = self.filter(server, _KEYS[method]).own(bare)
        if own is None:
            raise UnknownTarget(
                f"server {server.spec.name!r} offers nothing called {exposed!r}; list what there is",
                server=server.spec.name,
            )
        return own

    def is_unknown_short(self, exposed: str, method: str) -> bool:
        """Whether the name looks shortened and nobody has listed what it stands for."""
        if not self.prefix or not names.is_shortened(exposed):
            return False
        parts = names.split(exposed)
        return parts is not None and (parts[0], method, exposed) not in self._short

    async def resolve(self, exposed: str, method: str, server: str | None = None) -> tuple[Server, str]:
        """As ``locate``; asks the server for its list first if the name looks shortened and was never listed.

        With ``server``, that one is meant, and the name may also come without its prefix.
        """
        if server is not None:
            named = self.server(server)
            parts = names.split(exposed) if self.prefix else None
            if parts is None or parts[0] != server:
                return named, self._own(named, exposed, exposed, method)
        while self.is_unknown_short(exposed, method):
            parts, before = names.split(exposed), self._forgets
            if parts is not None and parts[0] in self._servers:
                await listing.read(self, self._servers[parts[0]], method)
            if self._forgets == before:
                break
        return self.locate(exposed, method)

    async def owner(self, uri: str, server: str | None = None) -> Server:
        """``server``, or the one that lists ``uri`` or a template that matches it. Raises UnknownTarget, also if the
        server's filter hides it.
        """
        found: Server | None
        if server is not None:
            found = self.server(server)
        else:
            found = self._known_owner(uri)
            if found is None and len(self._servers) == 1:
                found = next(iter(self._servers.values()))
            while found is None:
                before = self._forgets
                await asyncio.gather(self.items("resources/list"), self.items("resources/templates/list"))
                found = self._known_owner(uri)
                if self._forgets == before:
                    break
        if found is None or not self.filter(found, "resources").shows(uri):
            raise UnknownTarget(
                f"no server lists the resource {uri!r}, or a template for it; list the resources, or name the server"
            )
        return found

    def _known_owner(self, uri: str) -> Server | None:
        name = self._uris.get(uri)
        if name is not None:
            return self._servers.get(name)
        for pattern, owner in self._templates.values():
            server = self._servers.get(owner)
            if server is not None and pattern.fullmatch(uri) and self.filter(server, "resources").shows(uri):
                return server
        return None


def _is_modern(server: Server) -> bool:
    return server.peer is not None and server.peer.era == "modern"


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
