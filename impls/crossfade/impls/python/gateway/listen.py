"""Owns ``subscriptions/listen`` of modern clients: a stream of what they asked to hear of, and nothing else.

Rules (2026-07-28 basic/patterns/subscriptions): the acknowledgement comes first and says what is honoured; every
message carries the id of the request; it ends by the client, or with a result when the gateway ends it. A client that
does not keep up gets the latest word on each list and resource when it has caught up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import msgspec

from crossfade.impls.errors import CrossfadeError, UnknownTarget
from crossfade.impls.python import jsonrpc
from crossfade.impls.python.gateway import offer
from crossfade.impls.python.gateway.streams import streams_of
from crossfade.impls.python.notices import KINDS, SUBSCRIPTION_KEY, Listener
from crossfade.impls.python.watch_source import ACKNOWLEDGED

if TYPE_CHECKING:
    from crossfade.impls.python.gateway.sessions import Session
    from crossfade.impls.python.manager import PythonManager
    from crossfade.impls.python.server import Server


class _Filter(msgspec.Struct):
    tools: bool | None = msgspec.field(default=None, name="toolsListChanged")
    prompts: bool | None = msgspec.field(default=None, name="promptsListChanged")
    resources: bool | None = msgspec.field(default=None, name="resourcesListChanged")
    uris: list[str] | None = msgspec.field(default=None, name="resourceSubscriptions")


class _Params(msgspec.Struct):
    notifications: _Filter


class _Named(msgspec.Struct):
    uri: str


SUBSCRIBING: Final = ("resources/subscribe", "resources/unsubscribe")
"""How legacy clients ask for one resource each."""
_named = msgspec.json.Decoder(_Named).decode
_params = msgspec.json.Decoder(_Params).decode
_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class Listening(Listener):
    """One stream. ``send`` writes a message and says whether the client can take more."""

    __slots__ = ("_manager", "_raw_id", "_send", "_waiting", "begun")

    def __init__(self, manager: PythonManager, raw_id: bytes, send: Callable[[bytes], bool]) -> None:
        super().__init__()
        self._manager = manager
        self._raw_id = raw_id
        self._send = send
        self._waiting: dict[bytes, bytes] | None = {}
        self.begun = False

    async def open(self, params: bytes) -> bytes:
        """Find out what can be honoured, and listen to it; returns the acknowledgement, to be sent before ``begin``.

        Raises UnknownTarget. Whoever opens it owes a ``close``.
        """
        try:
            wanted = _params(params).notifications
        except msgspec.DecodeError as error:
            raise UnknownTarget(f"params.notifications: {error}; send which notifications to listen to") from None
        servers = list(self._manager.registry.values())
        await offer.meet(servers)
        offered = offer.capabilities(servers)
        self.kinds = frozenset(kind for kind in KINDS if getattr(wanted, kind) and kind in offered)
        self._manager.notices.join(self)
        uris = list(dict.fromkeys(wanted.uris or ()))
        honoured = await asyncio.gather(*(self._subscribe(uri) for uri in uris))
        if self.kinds:
            await asyncio.gather(*(server.watched.settle() for server in servers))
        said: dict[str, Any] = {f"{kind}ListChanged": True for kind in KINDS if kind in self.kinds}
        if any(honoured):
            said["resourceSubscriptions"] = [uri for uri, ok in zip(uris, honoured, strict=True) if ok]
        return self._message(ACKNOWLEDGED, {"notifications": msgspec.Raw(jsonrpc.encode(said))})

    async def _subscribe(self, uri: str) -> bool:
        try:
            await subscribe(self._manager, self, uri)
        except CrossfadeError:  # what cannot be honoured is left out of the acknowledgement
            return False
        return True

    def begin(self) -> None:
        """The acknowledgement is out."""
        self.begun = True
        self.caught_up()

    def caught_up(self) -> None:
        """The client reads again."""
        waiting, self._waiting = self._waiting, None
        for key, message in (waiting or {}).items():
            self._say(key, message)

    def tell(self, method: str, params: dict[str, msgspec.Raw]) -> None:
        self._say(method.encode() + b" " + bytes(params.get("uri", b"")), self._message(method, params))

    def _say(self, key: bytes, message: bytes) -> None:
        if self._waiting is not None:
            self._waiting[key] = message
        elif not self._send(message):
            self._waiting = {}

    def _message(self, method: str, params: dict[str, msgspec.Raw]) -> bytes:
        meta = _fields(params["_meta"]) if "_meta" in params else {}
        meta[SUBSCRIPTION_KEY] = msgspec.Raw(self._raw_id)
        return jsonrpc.notification(method, jsonrpc.encode({**params, "_meta": meta}))

    def result(self) -> bytes:
        """The response that ends it gracefully."""
        meta = {SUBSCRIPTION_KEY: msgspec.Raw(self._raw_id)}
        return jsonrpc.result(self._raw_id, jsonrpc.encode({"resultType": "complete", "_meta": meta}))

    def close(self) -> None:
        """Nobody listens any more."""
        self._manager.notices.leave(self)


async def subscribe(manager: PythonManager, listener: Listener, uri: str) -> None:
    """Listen to one resource. Raises CrossfadeError if its server does not tell of it."""
    server = await _owner(manager, uri)
    name = server.spec.name
    manager.notices.add(listener, name, uri)
    try:
        await server.watched.settle(uri)
    except BaseException:
        manager.notices.drop(listener, name, uri)
        raise


async def subscribed(manager: PythonManager, session: Session, method: str, params: bytes) -> bytes:
    """The result of a legacy client's (un)subscription. Raises CrossfadeError."""
    try:
        uri = _named(params).uri
    except msgspec.DecodeError as error:
        raise UnknownTarget(f"params.uri: {error}; send the resource's uri") from None
    if method == "resources/subscribe":
        await subscribe(manager, session.listener or streams_of(session, manager.config.gateway.replay_events), uri)
    elif session.listener is not None:
        for server in [server for server, of in session.listener.uris if of == uri]:
            manager.notices.drop(session.listener, server, uri)
    return b"{}"


async def _owner(manager: PythonManager, uri: str) -> Server:
    server = await manager.catalog.owner(uri)
    peer = server.peer
    if peer is None and server.instances:
        peer = await server.instances[0].ready()
    resources = peer.capabilities.get("resources") if peer is not None else None
    if not isinstance(resources, dict) or resources.get("subscribe") is not True:
        name = server.spec.name
        raise UnknownTarget(f"server {name!r} tells nothing of changes of its resources; read them again", server=name)
    return server
