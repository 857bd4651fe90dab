"""Owns who wants to hear of what: lists that change, resources that are updated; and tells them.

Rules: a listener is told what it asked for and nothing else; a resource is watched once upstream, however many want it
(``watch``), and not at all when nobody does. Telling never waits: a listener that cannot keep up keeps the latest word
on each list and resource, so that what is held for it is bounded by what it asked for.
"""

from __future__ import annotations

import abc
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final

import msgspec

from crossfade.impls.python import jsonrpc

if TYPE_CHECKING:
    from crossfade.impls.python.jsonrpc import Answer
    from crossfade.impls.python.server import Server

KINDS: Final = ("tools", "prompts", "resources")
UPDATED: Final = "notifications/resources/updated"
SUBSCRIPTION_KEY: Final = "io.modelcontextprotocol/subscriptionId"
_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class Listener(abc.ABC):
    """Somebody who listens. ``kinds`` are the lists it wants to hear of."""

    __slots__ = ("kinds", "uris")

    def __init__(self, kinds: Iterable[str] = ()) -> None:
        self.kinds = frozenset(kinds)
        self.uris: set[tuple[str, str]] = set()

    @abc.abstractmethod
    def tell(self, method: str, params: dict[str, msgspec.Raw]) -> None:
        """A notification; ``params`` are shared and must not be changed."""


class Notices:
    """All listeners of one manager. Resources go by the name of their server, which may be another one tomorrow."""

    __slots__ = ("_listeners", "_lists", "_readers", "_servers", "_uris")

    def __init__(self, servers: Mapping[str, Server]) -> None:
        self._servers = servers
        self._listeners: set[Listener] = set()
        self._lists = 0
        self._readers = 0
        self._uris: dict[str, dict[str, set[Listener]]] = {}

    # -- who wants what

    @property
    def wanted(self) -> bool:
        """Whether anybody wants to hear of lists."""
        return self._lists > 0 or self._readers > 0

    def uris(self, server: str) -> frozenset[str]:
        """The resources of a server that somebody wants to hear of."""
        return frozenset(self._uris.get(server, ()))

    def join(self, listener: Listener) -> None:
        """From now on the listener is told of its ``kinds``."""
        if listener not in self._listeners:
            self._listeners.add(listener)
            self._lists += bool(listener.kinds)
            if self._lists == 1:
                self._poke()

    def leave(self, listener: Listener) -> None:
        """It wants to hear nothing any more."""
        for server, uri in list(listener.uris):
            self.drop(listener, server, uri)
        if listener in self._listeners:
            self._listeners.discard(listener)
            self._lists -= bool(listener.kinds)
            if not self._lists:
                self._poke()

    def reader(self, count: int) -> None:
        """Readers of the manager's events came or went."""
        self._readers += count
        if self._readers in (0, count):
            self._poke()

    def add(self, listener: Listener, server: str, uri: str) -> None:
        """It wants to hear of one resource, too."""
        listener.uris.add((server, uri))
        listeners = self._uris.setdefault(server, {}).setdefault(uri, set())
        listeners.add(listener)
        if len(listeners) == 1:
            self._poke_one(server)

    def drop(self, listener: Listener, server: str, uri: str) -> None:
        """It does not want to hear of that one any more."""
        listener.uris.discard((server, uri))
        of_server = self._uris.get(server, {})
        listeners = of_server.get(uri, set())
        listeners.discard(listener)
        if not listeners and of_server.pop(uri, None) is not None:
            if not of_server:
                del self._uris[server]
            self._poke_one(server)

    def _poke(self) -> None:
        for server in self._servers.values():
            server.watched.poke()

    def _poke_one(self, name: str) -> None:
        server = self._servers.get(name)
        if server is not None:
            server.watched.poke()

    # -- what happened

    def list_changed(self, kind: str) -> None:
        """The list of all servers is another one."""
        method = f"notifications/{kind}/list_changed"
        for listener in list(self._listeners):
            if kind in listener.kinds:
                listener.tell(method, {})

    def all_changed(self, kinds: Iterable[str] = KINDS) -> None:
        """The registry has changed, or a server is back that was missed."""
        if self._lists:
            for kind in kinds:
                self.list_changed(kind)

    def updated(self, server: Server, message: Answer) -> None:
        """A server told of a resource: the one that was asked for, or one below it."""
        uris = self._uris.get(server.spec.name)
        if not uris:
            return
        uri = jsonrpc.updated_uri(message)
        if uri is None or message.params is msgspec.UNSET:
            return
        told: set[Listener] = set()
        for wanted, listeners in uris.items():
            if uri == wanted or uri.startswith(wanted.rstrip("/") + "/"):
                told |= listeners
        params = _own(message.params)
        for listener in told:
            listener.tell(UPDATED, params)


def _own(raw: msgspec.Raw) -> dict[str, msgspec.Raw]:
    """Params without the id of our own subscription upstream."""
    params = _fields(raw)
    if (meta := params.pop("_meta", None)) is not None:
        try:
            rest = _fields(meta)
        except msgspec.DecodeError:
            return params
        rest.pop(SUBSCRIPTION_KEY, None)
        if rest:
            params["_meta"] = msgspec.Raw(jsonrpc.encode(rest))
    return params
