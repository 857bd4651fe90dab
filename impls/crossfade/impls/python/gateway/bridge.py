"""Owns the sending of one request of the gateway's clients: what is added on the hop, and who is asked what in between.

Rule: of the four pairs of eras only the unequal ones have rounds of input to translate, and only those pay for it; a
modern client of a modern server has its rounds passed through untouched.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec

from crossfade.impls.errors import ServerTimeout, UnknownTarget
from crossfade.impls.python.ask import Ticket
from crossfade.impls.python.gateway.asking import answered
from crossfade.impls.python.gateway.suspended import Claim
from crossfade.impls.python.gateway.voice_of import voice_of
from crossfade.impls.python.gateway.voices import LEVELS, known_level, meta_for
from crossfade.impls.python.rounds import ASKING, BadRound, is_input_required, read_retry
from crossfade.impls.python.state_token import request_digest
from crossfade.impls.python.translate import LOG_KEY

if TYPE_CHECKING:
    from crossfade.impls.python.gateway.methods import Caller
    from crossfade.impls.python.gateway.sessions import Session
    from crossfade.impls.python.manager import PythonManager
    from crossfade.impls.python.server import Server

_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class Bridged:
    """One request to ``server``; ``fields`` are its params as that server names things, ``params`` as the client sent
    them, ``name`` is for Mcp-Name.
    """

    __slots__ = ("_caller", "_fields", "_manager", "_method", "_name", "_params", "_server")

    def __init__(self, manager: PythonManager, caller: Caller, server: Server, method: str, params: bytes) -> None:
        self._manager = manager
        self._caller = caller
        self._server = server
        self._method = method
        self._params = params
        self._fields: dict[str, Any] = {}
        self._name: str | None = None

    async def send(self, fields: dict[str, Any], name: str | None, ticket: Ticket | None) -> bytes:
        """The JSON of ``result``. Raises CrossfadeError."""
        self._fields, self._name = fields, name
        session = self._caller.session
        meta = meta_for(session, _take_meta(fields))
        if session is not None:
            return await self._legacy(session, meta, ticket)
        return await self._modern(meta, ticket)

    # -- a legacy client

    async def _legacy(self, session: Session, meta: dict[str, Any], ticket: Ticket | None) -> bytes:
        server, caller = self._server, self._caller
        voice = voice_of(server, caller, self._method, meta)
        options: dict[str, Any] = {"meta": meta, "voice": voice, "session": session.id}
        if not server.spec.stateless:
            options["sessions"] = session.upstream

        async def again(more: dict[str, msgspec.Raw]) -> bytes:
            for key in ("inputResponses", "requestState"):
                self._fields.pop(key, None)
            self._fields.update(more)
            return await self._send(_next(ticket), **options)

        try:
            first = await self._send(ticket, **options)
            if caller.speaker is None or self._method not in ASKING or not is_input_required(first):
                return first
            return await answered(again, first, caller.speaker, session.questions, server.spec.name)
        finally:
            if voice is not None:
                voice.close()

    # -- a modern client

    async def _modern(self, meta: dict[str, Any], ticket: Ticket | None) -> bytes:
        server, caller, fields = self._server, self._caller, self._fields
        voice = voice_of(server, caller, self._method, meta)
        if not known_level(meta) and await _is_legacy(server):
            raise UnknownTarget(f"{LOG_KEY} must be one of {', '.join(LEVELS)}; send one of them")
        suspended, retried = caller.suspended, "requestState" in fields
        if voice is None or suspended is None or self._method not in ASKING or not (voice.may_wait or retried):
            return await self._plain(ticket, voice=voice, meta=meta)
        if not await _is_legacy(server):
            return await self._plain(ticket, voice=voice, meta=meta)
        claim = Claim(caller.principal, request_digest(self._method, self._params))
        if retried:
            try:
                return await suspended.resume(claim, read_retry(self._params), voice)
            except BadRound as error:
                raise UnknownTarget(f"{error}; send what the round asked for") from None
        fields.pop("inputResponses", None)
        own = Ticket() if ticket is None else ticket.handed_over()
        return await suspended.start(claim, voice, lambda: self._send(own, voice=voice, meta=meta), own.leave)

    async def _plain(self, ticket: Ticket | None, **options: Any) -> bytes:
        try:
            return await self._send(ticket, **options)
        finally:
            if options["voice"] is not None:
                options["voice"].close()

    async def _send(self, ticket: Ticket | None, **options: Any) -> bytes:
        options |= {"name": self._name, "principal": self._caller.principal, "ticket": ticket}
        return await self._manager.send(self._server, self._method, self._fields, **options)


def _next(ticket: Ticket | None) -> Ticket:
    """What a further round has behind it: it was admitted, and its call has its place; its time is its own."""
    following = Ticket()
    following.admitted = True
    if ticket is not None:
        following.place, following.load = ticket.place, ticket.load
    return following


async def _is_legacy(server: Server) -> bool:
    """Which era the server speaks; it is asked if nobody knows yet."""
    if server.peer is None and server.instances:
        try:
            async with asyncio.timeout(server.timeout_ns / 1e9):
                await next(iter(server.instances)).ready()
        except TimeoutError:
            name = server.spec.name
            raise ServerTimeout(
                f"server {name!r} is still starting at the end of the request's time; raise the timeout", server=name
            ) from None
    return server.peer is not None and server.peer.era == "legacy"


def _take_meta(fields: dict[str, Any]) -> dict[str, Any] | None:
    """Take ``_meta`` out of the fields, one level deep."""
    raw = fields.pop("_meta", None)
    if raw is None:
        return None
    try:
        return dict(_fields(raw))
    except msgspec.DecodeError:
        raise UnknownTarget("params._meta must be an object; send an object") from None
