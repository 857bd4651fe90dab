"""Owns what all sources of a server's changes have in common, whatever carries them.

Modern servers tell those who ask by ``subscriptions/listen``; legacy ones tell every session, on its GET stream or its
pipe, and of a resource whoever subscribed to it (2026-07-28 basic/patterns/subscriptions; 2025-11-25 server/resources).
Rule: a renewed subscription stands before the old one is given up, so that nothing falls between them.
"""

from __future__ import annotations

import abc
import asyncio
from time import monotonic_ns
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from crossfade.impls.errors import CrossfadeError, RemoteError, ServerError
from crossfade.impls.python.jsonrpc import INVALID_PARAMS, Answer, NotJsonRpc, decode_answer, encode, remote_error
from crossfade.impls.python.notices import KINDS, SUBSCRIPTION_KEY
from crossfade.impls.python.translate import modern_meta

if TYPE_CHECKING:
    from crossfade.impls.python.instance import Instance
    from crossfade.impls.python.watch import Wanted, Watch

LISTEN: Final = "subscriptions/listen"
ACKNOWLEDGED: Final = "notifications/subscriptions/acknowledged"


class Position(NamedTuple):
    """How far the stream of a legacy session was read."""

    instance: Instance
    session: str | None
    last_id: bytes


class Source(abc.ABC):
    """Where one instance is heard. ``lost`` is done when it is over; ``resumed`` says that nothing was missed, and
    ``streams`` that a legacy server says its changes on a stream of their own.
    """

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.resumed = False
        self.streams = False
        self.position: Position | None = None
        self.retry_s = 0.0

    @abc.abstractmethod
    async def open(self, wanted: Wanted) -> None:
        """Begin. Raises CrossfadeError."""

    @abc.abstractmethod
    async def renew(self, wanted: Wanted) -> None:
        """Something else is wanted now. Raises CrossfadeError."""

    @abc.abstractmethod
    def close(self) -> None:
        """Nobody listens any more."""

    @abc.abstractmethod
    def usable(self) -> bool:
        """Whether it is still about the server as it is now."""

    def acknowledged(self, message: Answer) -> None:  # noqa: B027  only a pipe has others' messages
        """A subscription was accepted."""

    def _end(self) -> None:
        if not self.lost.done():
            self.lost.set_result(None)

    def _honoured(self, message: Answer, wanted: Wanted) -> None:
        """Note which resources the acknowledgement leaves out."""
        theirs = _acknowledgement(message)
        for uri in wanted.uris:
            if uri in theirs.filter.uris:
                self._watch.refused.pop(uri, None)
            else:
                name = self._watch.server.spec.name
                text = f"server {name!r} tells nothing of changes of {uri!r}; read it again instead"
                self._watch.refuse(uri, RemoteError(text, server=name, remote_code=INVALID_PARAMS))


class _Filter(msgspec.Struct):
    uris: list[str] = msgspec.field(default_factory=list, name="resourceSubscriptions")


class _Acknowledgement(msgspec.Struct):
    filter: _Filter = msgspec.field(default_factory=_Filter, name="notifications")
    meta: dict[str, msgspec.Raw] = msgspec.field(default_factory=dict, name="_meta")


_decode_acknowledgement = msgspec.json.Decoder(_Acknowledgement).decode


def _acknowledgement(message: Answer) -> _Acknowledgement:
    try:
        return _Acknowledgement() if message.params is msgspec.UNSET else _decode_acknowledgement(message.params)
    except msgspec.DecodeError:
        return _Acknowledgement()


def subscription_of(message: Answer) -> bytes:
    """The id of the subscription that was acknowledged, as JSON; empty if it says none."""
    return bytes(_acknowledgement(message).meta.get(SUBSCRIPTION_KEY, b""))


def listen_params(wanted: Wanted) -> bytes:
    """The params of ``subscriptions/listen``."""
    flags: dict[str, Any] = {f"{kind}ListChanged": True for kind in KINDS} if wanted.lists else {}
    if wanted.uris:
        flags["resourceSubscriptions"] = sorted(wanted.uris)
    return encode({"notifications": flags, "_meta": modern_meta()})


class Subscriptions:
    """The resources that a legacy session is subscribed to; ``ask`` sends one request in it."""

    def __init__(self, watch: Watch, instance: Instance) -> None:
        self._watch = watch
        self._instance = instance
        self._have: frozenset[str] = frozenset()

    async def want(self, uris: frozenset[str]) -> None:
        """Subscribe to what is new and unsubscribe from what nobody wants, all at once."""
        new, old = uris - self._have, self._have - uris
        self._have = uris
        await asyncio.gather(
            *(self._tell("subscribe", uri) for uri in new), *(self._tell("unsubscribe", u) for u in old)
        )

    async def _tell(self, verb: str, uri: str) -> None:
        deadline_ns = monotonic_ns() + self._watch.server.timeout_ns
        try:
            await self._instance.request(f"resources/{verb}", encode({"uri": uri}), deadline_ns)
        except CrossfadeError as error:
            if verb == "subscribe":
                self._watch.refuse(uri, error)
        else:
            self._watch.refused.pop(uri, None)


def fail(begun: asyncio.Future[None] | None, error: CrossfadeError) -> None:
    """It did not begin, and that is why."""
    if begun is not None and not begun.done():
        begun.set_exception(error)
        begun.exception()  # whoever waited may be gone


def refusal(server: str, status: int, body: bytes) -> CrossfadeError:
    """Why there is no stream, in the server's own words if it is JSON-RPC."""
    try:
        answer = decode_answer(body)
    except NotJsonRpc:
        answer = Answer()
    if answer.error is not msgspec.UNSET:
        return remote_error(answer.error, server)
    return ServerError(
        f"server {server!r} gave no stream of changes (HTTP {status}: {body[:80]!r}); look at the server", server=server
    )


def late(server: str) -> ServerError:
    """It did not begin in time."""
    return ServerError(f"server {server!r} did not acknowledge {LISTEN} in time; look at the server", server=server)
