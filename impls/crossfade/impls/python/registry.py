"""Owns the indexes of the registry: servers by tag, by state and by what they announced.

Rule: a change only marks them stale, and the first reader after it builds them anew: whoever looks at a filtered view
pays for the servers in it, not for all there are.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from crossfade.impls.states import ServerState

if TYPE_CHECKING:
    from crossfade.impls.python.server import Server

Names = dict[str, None]
"""Names of servers in order of registration."""


class Index:
    """Views of ``servers``, the registry itself."""

    __slots__ = ("_by_capability", "_by_state", "_by_tag", "_servers", "_stale")

    def __init__(self, servers: Mapping[str, Server]) -> None:
        self._servers = servers
        self._stale = True
        self._by_tag: dict[str, Names] = {}
        self._by_state: dict[ServerState, Names] = {}
        self._by_capability: dict[str, Names] = {}

    def touch(self) -> None:
        """A server came, went, changed its state or its specification, or said anew what it offers."""
        self._stale = True

    def select(self, tag: str | None, state: ServerState | None, capability: str | None) -> list[Server]:
        """The servers that have all that is asked for, in order of registration."""
        if tag is None and state is None and capability is None:
            return list(self._servers.values())
        if self._stale:
            self._build()
        wanted: list[Names] = []
        if tag is not None:
            wanted.append(self._by_tag.get(tag, {}))
        if state is not None:
            wanted.append(self._by_state.get(state, {}))
        if capability is not None:
            wanted.append(self._by_capability.get(capability, {}))
        wanted.sort(key=len)
        return [self._servers[name] for name in wanted[0] if all(name in names for names in wanted[1:])]

    def _build(self) -> None:
        self._by_tag, self._by_state, self._by_capability = {}, {}, {}
        for name, server in self._servers.items():
            for tag in server.spec.tags:
                self._by_tag.setdefault(tag, {})[name] = None
            self._by_state.setdefault(server.state, {})[name] = None
            peer = server.peer
            for capability in peer.capabilities if peer is not None else ():
                self._by_capability.setdefault(capability, {})[name] = None
        self._stale = False
