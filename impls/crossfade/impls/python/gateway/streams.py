"""Owns the event streams of one legacy session: answers that are streams, and the GET stream for what belongs to none.

A stream is not its connection: it goes on when that is lost, and the next one that asks for it by an event id carries
it. Rules: one message goes out on one stream; of several GET streams the latest speaks; a client that does not keep up
gets the latest notification of each kind when it has caught up; one that comes back too late for some events is told
so in a comment, and of changes once more, as each may have been among them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from crossfade.impls.python import event_id, jsonrpc
from crossfade.impls.python.gateway.replay import Replay, Rest
from crossfade.impls.python.notices import KINDS, UPDATED, Listener
from crossfade.impls.python.sse import comment, event, priming

if TYPE_CHECKING:
    from crossfade.impls.python.gateway.client import ClientConnection
    from crossfade.impls.python.gateway.jobs import Job
    from crossfade.impls.python.gateway.sessions import Session

MOST_ALONE: Final = 64
"""Calls of a session that may go on without a connection; what is above is cancelled with it."""


class Stream:
    """One stream. ``client`` carries it just now, or nobody does; ``said`` numbers its last event, up to ``gone`` they
    are forgotten.
    """

    __slots__ = ("_replay", "_waiting", "client", "gone", "kept", "number", "over", "said")

    def __init__(self, replay: Replay, client: ClientConnection | None) -> None:
        self._replay = replay
        self._waiting: dict[bytes, bytes] = {}
        self.client = client
        self.said = 0
        self.kept = 0
        self.gone = 0
        self.over = False
        self.number = replay.add(self)

    @property
    def full(self) -> bool:
        """Whether its client does not keep up."""
        return self.client is not None and self.client.full

    def prime(self) -> None:
        """Give the client an id to come back with, before anything is said (2025-11-25, "Sending Messages")."""
        self._write(priming(event_id.write(self.number, 0).encode()))

    def send(self, message: bytes, key: bytes | None = None) -> None:
        """Say something. With a ``key`` only the latest word is of use, and it waits while the client is slow."""
        if self.over:
            return
        if key is not None and self.full:
            self._waiting[key] = message
        else:
            self._write(self._replay.keep(self, message))

    def caught_up(self) -> None:
        """The client reads again."""
        waiting, self._waiting = self._waiting, {}
        for key, message in waiting.items():
            self.send(message, key)

    def carry(self, client: ClientConnection, rest: Rest) -> None:
        """Go on with another connection, behind what is left of what it missed."""
        if self.client is not None:
            self.client.end_stream()
        self.client = client
        if rest.lost:
            self._write(comment(b"%d events are lost; raise gateway.replayEvents" % rest.lost))
        for tag, message in rest.events:
            self._write(event(message, tag))
        if self.over:
            self.client = None
            client.end_stream()
        else:
            self.caught_up()

    def lost(self, client: ClientConnection) -> None:
        """A connection is gone."""
        if self.client is client:
            self.client = None

    def end(self) -> None:
        """All is said."""
        if self.over:
            return
        self.over = True
        self._waiting.clear()
        self._replay.over(self)
        client, self.client = self.client, None
        if client is not None:
            client.end_stream()

    def _write(self, data: bytes) -> None:
        if self.client is not None:
            self.client.write_event(data)


class Streams(Listener):
    """All streams of one session; what its client hears of changes goes to the one that ``speaks``.

    ``alone`` are the calls that go on without a connection, by the client's id.
    """

    __slots__ = ("_open", "alone", "replay")

    def __init__(self, limit: int) -> None:
        super().__init__(KINDS)
        self.replay = Replay(limit)
        self._open: list[Stream] = []
        self.alone: dict[bytes, Job] = {}

    def open_get(self, client: ClientConnection) -> Stream:
        """A GET stream; from now on it speaks. Those that nobody carries any more are over."""
        for stream in [s for s in self._open if s.client is None]:
            self._close(stream)
        stream = Stream(self.replay, client)
        self._open.append(stream)
        return stream

    def gone(self, stream: Stream) -> None:
        """A connection of a GET stream is lost: kept for replay if it spoke, and if anything is kept."""
        if stream in self._open and (not self.replay.on or stream is not self._open[-1]):
            self._close(stream)

    @property
    def speaks(self) -> Stream | None:
        """The GET stream for what belongs to no other: the latest that somebody carries, or carried."""
        carried = [stream for stream in self._open if stream.client is not None] or self._open
        return carried[-1] if carried else None

    def say(self, message: bytes, *, needed: bool = False, key: bytes | None = None) -> None:
        """Say what belongs to no call."""
        del needed  # all of it is
        if (stream := self.speaks) is not None:
            stream.send(message, key)

    def tell(self, method: str, params: dict[str, msgspec.Raw]) -> None:
        key = method.encode() + b" " + bytes(params.get("uri", b""))
        self.say(jsonrpc.notification(method, jsonrpc.encode(params)), key=key)

    def missed(self, stream: Stream) -> None:
        """Events of a stream are lost. If it told of changes, each may have been among them."""
        if stream not in self._open:
            return
        for kind in KINDS:
            self.tell(f"notifications/{kind}/list_changed", {})
        for _, uri in sorted(self.uris):
            self.tell(UPDATED, {"uri": msgspec.Raw(jsonrpc.encode(uri))})

    def end(self) -> None:
        """The session is over."""
        for stream in list(self._open):
            self._close(stream)
        alone, self.alone = self.alone, {}
        for job in alone.values():
            job.revoke()

    def _close(self, stream: Stream) -> None:
        self._open.remove(stream)
        stream.end()


def streams_of(session: Session, limit: int) -> Streams:
    """Those of a session, from its first on."""
    if session.streams is None:
        session.listener = session.streams = Streams(limit)
    return session.streams
