"""Owns the way back of what a server says in the middle of a request: progress, log messages, questions.

A request of a gateway's client carries a *voice*; one of the manager's own has none, so that what is said to it is
dropped. Rules: tokens of clients collide, so a voice has one of ours upstream and puts the client's back; nothing
reaches a client that did not come with its own request, and nothing after that request's end.
"""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from crossfade.impls.python import jsonrpc
from crossfade.impls.python.jsonrpc import Answer
from crossfade.impls.python.progress import restored, token_of

if TYPE_CHECKING:
    from crossfade.impls.python.seats import Wish

PROGRESS: Final = "notifications/progress"
LOG: Final = "notifications/message"
CANCELLED: Final = "notifications/cancelled"
UPDATED: Final = "notifications/resources/updated"
_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class Origin(Protocol):
    """The server's side of a request under way: where its questions come from, and their answers go to."""

    def reply(self, message: bytes) -> None:
        """Send the server a response or a notification."""

    def hold(self) -> None:
        """The client is asked: until ``go_on`` the time of the request stands still."""

    def go_on(self) -> None:
        """All that was asked is answered."""


class Voice(abc.ABC):
    """One request's. ``token`` is ours upstream (0: the client wants no progress), ``raw_token`` the client's as JSON.

    ``logs`` says whether log messages are wanted, ``level`` which, if the client has said so.
    """

    __slots__ = ("level", "logs", "raw_token", "token", "wish")

    def __init__(self, token: int = 0, raw_token: bytes = b"", *, logs: bool = False, level: str | None = None) -> None:
        self.token = token
        self.raw_token = raw_token
        self.logs = logs
        self.level = level
        self.wish: Wish | None = None
        """The session that the request needs with a legacy server, if not the manager's."""

    @abc.abstractmethod
    def say(self, message: bytes) -> None:
        """Send the client a notification."""

    @abc.abstractmethod
    def asked(self, message: Answer, origin: Origin) -> None:
        """The server asks something; ``origin`` wants a response, whatever happens."""

    @abc.abstractmethod
    def withdrawn(self, message: Answer, origin: Origin) -> None:
        """The server does not want an answer any more."""

    def lost(self) -> None:  # noqa: B027  most have asked nothing
        """The server is gone, and with it what it asked; the request may be sent again."""

    def hears(self, message: Answer, origin: Origin) -> None:
        """One message of the server's, on this request's behalf. Changes of lists and resources are not: those that
        want them have asked for them elsewhere.
        """
        method = message.method
        assert isinstance(method, str)  # noqa: S101  a response is no message in the middle
        if message.id is not msgspec.UNSET:
            if method == "ping":
                origin.reply(jsonrpc.result(message.id, b"{}"))
            else:
                self.asked(message, origin)
        elif method == PROGRESS:
            if (params := self._restored(message)) is not None:
                self.say(jsonrpc.notification(method, params))
        elif method == CANCELLED:
            self.withdrawn(message, origin)
        elif (method != LOG or self.logs) and not method.endswith("/list_changed") and method != UPDATED:
            params = b"{}" if message.params is msgspec.UNSET else bytes(message.params)
            self.say(jsonrpc.notification(method, params))

    def _restored(self, message: Answer) -> bytes | None:
        """Params of a progress notification with the client's token; None if it is not this request's."""
        if not self.token or not self.raw_token or message.params is msgspec.UNSET:
            return None
        params = bytes(message.params)
        return restored(params, self.raw_token) if token_of(params) == b"%d" % self.token else None


def fields_of(message: Answer) -> dict[str, msgspec.Raw]:
    """The params of a server's message, one level deep; empty if they are no object."""
    try:
        return {} if message.params is msgspec.UNSET else _fields(message.params)
    except msgspec.DecodeError:
        return {}


def refuse(message: Answer, origin: Origin) -> None:
    """Tell the server that nobody answers such a request."""
    assert message.id is not msgspec.UNSET  # noqa: S101  it is a request
    text = f"the client declared no capability for {message.method}"
    origin.reply(jsonrpc.error(message.id, jsonrpc.METHOD_NOT_FOUND, text))
