"""Owns the voice of a modern client's request to a legacy server: what the server asks is gathered into rounds.

Rules: what is asked within a moment is one round; a question that the client left out is asked again in the next; while
the client has a round in its hands the time of the call stands still, and nothing is said to it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import msgspec

from crossfade.impls.python import jsonrpc
from crossfade.impls.python.gateway.voices import ClientVoice
from crossfade.impls.python.jsonrpc import Answer
from crossfade.impls.python.rounds import Asked, declares, input_key
from crossfade.impls.python.voice import Origin, fields_of, refuse

if TYPE_CHECKING:
    from crossfade.impls.python.gateway.speech import Speaker

_TOGETHER_S: Final = 0.01
_MOST: Final = 64


class _Nobody:
    """A Speaker while no request of the client's is open."""

    def say(self, message: bytes, *, needed: bool = False) -> None:
        """Dropped."""


class _Open:
    """What the server asked under ``id``, and the client knows as ``asked.key``."""

    __slots__ = ("asked", "id", "origin")

    def __init__(self, asked: Asked, server_id: bytes, origin: Origin) -> None:
        self.asked = asked
        self.id = server_id
        self.origin = origin


class AskedVoice(ClientVoice):
    """``capabilities`` (JSON) are the client's. One voice lives as long as its call upstream."""

    __slots__ = ("_asked", "_capabilities", "_gathering", "_open", "_round")
    may_wait = True

    def __init__(
        self,
        speaker: Speaker,
        token: int,
        raw_token: bytes,
        *,
        capabilities: bytes,
        level: str | None,
    ) -> None:
        super().__init__(speaker, token, raw_token, logs=level is not None, level=level)
        self._capabilities = capabilities
        self._open: list[_Open] = []
        self._asked = 0
        self._gathering: asyncio.TimerHandle | None = None
        self._round: asyncio.Future[None] | None = None

    # -- what the server says

    def asked(self, message: Answer, origin: Origin) -> None:
        method, raw_id = message.method, message.id
        assert isinstance(method, str) and raw_id is not msgspec.UNSET  # noqa: S101, PT018  it is a request
        if len(self._open) >= _MOST or not declares(self._capabilities, method):
            refuse(message, origin)
            return
        origin.hold()
        self._asked += 1
        params = None if message.params is msgspec.UNSET else bytes(message.params)
        self._open.append(_Open(Asked(input_key(self._asked), method, params), bytes(raw_id), origin))
        self._gather()

    def withdrawn(self, message: Answer, origin: Origin) -> None:
        server_id = bytes(fields_of(message).get("requestId", b""))
        self._open = [one for one in self._open if one.id != server_id]
        if not self._open:
            origin.go_on()

    def _gather(self) -> None:
        if self._gathering is None:
            self._gathering = asyncio.get_running_loop().call_later(_TOGETHER_S, self._gathered)

    def _gathered(self) -> None:
        self._gathering = None
        if self._open and self._round is not None and not self._round.done():
            self._round.set_result(None)

    # -- rounds

    async def next_round(self, task: asyncio.Task[bytes]) -> None:
        """Wait until ``task`` is done or there is something to ask."""
        while not task.done():
            self._round = asyncio.get_running_loop().create_future()
            if self._open:
                self._gather()
            await asyncio.wait((task, self._round), return_when=asyncio.FIRST_COMPLETED)
            if self._open:
                return

    def asking(self) -> list[Asked]:
        """The questions of the round."""
        return [one.asked for one in self._open]

    def answer(self, responses: Mapping[str, bytes]) -> None:
        """Give the server what the client brought; what it did not bring stays open."""
        answered = [one for one in self._open if one.asked.key in responses]
        self._open = [one for one in self._open if one.asked.key not in responses]
        for one in answered:
            one.origin.reply(jsonrpc.result(one.id, responses[one.asked.key]))
            if not self._open:
                one.origin.go_on()

    # -- the client comes and goes

    def attach(self, other: ClientVoice) -> None:
        """The client is back with another request: what is said goes to that one, by its token."""
        self.speaker = other.speaker
        self.raw_token = other.raw_token

    def detach(self) -> None:
        """The client has its round."""
        self.speaker = _Nobody()

    def lost(self) -> None:
        self._open.clear()

    def close(self) -> None:
        self.speaker = _Nobody()
        self._open.clear()
        if self._gathering is not None:
            self._gathering.cancel()
            self._gathering = None
