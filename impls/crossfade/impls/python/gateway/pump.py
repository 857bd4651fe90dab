"""Owns an event stream on its way from a legacy server to a legacy client, event by event.

The ids of the server's requests are its own, and another server behind the same gateway may use the same ones: they are
replaced, and the client's answers find their way back. All else passes as it is. Rule: a pump ends in exactly one of
``_ended`` or ``cancel``, and what it was asked ends with it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec

from crossfade.impls.errors import CrossfadeError, ProtocolViolation
from crossfade.impls.python import jsonrpc
from crossfade.impls.python.gateway.http_answer import HttpAnswer
from crossfade.impls.python.gateway.speech import Speech
from crossfade.impls.python.gateway.voices import LegacyVoice
from crossfade.impls.python.http_ear import Ear
from crossfade.impls.python.jsonrpc import Answer, NotJsonRpc, decode_answer
from crossfade.impls.python.resuming import resumable, resume
from crossfade.impls.python.sse import EventReader, EventTooLong
from crossfade.impls.python.voice import CANCELLED, UPDATED

if TYPE_CHECKING:
    from crossfade.impls.python.gateway.sessions import Session
    from crossfade.impls.python.gateway.toolcall import ToolCall
    from crossfade.impls.python.http_connection import HttpConnection
    from crossfade.impls.python.http_head import ResponseHead
    from crossfade.impls.python.upstream_http import HttpInstance


class Pump:
    """A sink, and the job of the client's connection from the head of the stream on."""

    __slots__ = (
        "_call",
        "_conn",
        "_done",
        "_ear",
        "_instance",
        "_paused",
        "_reader",
        "_resuming",
        "_session",
        "_violated",
        "_voice",
        "counted",
        "raw",
        "speech",
    )

    def __init__(self, call: ToolCall, instance: HttpInstance, conn: HttpConnection, session: Session) -> None:
        self.raw = False
        self.counted = True
        self._call = call
        self._instance = instance
        self._conn = conn
        self._session = session
        self._reader = EventReader(instance.spec.max_message_bytes)
        self._done = False
        self._paused = False
        self._violated = False
        self._resuming: asyncio.Task[None] | None = None
        self.speech = Speech(call.client, self, session)
        self._voice = LegacyVoice(self.speech, session.questions)
        self._ear = Ear(instance, self._voice, session.upstream.get(instance))
        self._ear.exchange = self
        call.client.job = self

    # -- Sink

    def on_stream(self) -> Pump:
        """It is one."""
        return self

    def on_head(self, head: ResponseHead, data: bytes, body_at: int, complete: bool) -> bool:
        del head
        return self.on_body(data[body_at:], complete)

    def on_body(self, data: bytes, complete: bool) -> bool:
        if self._done:
            return True
        try:
            events = self._reader.feed(data)
        except EventTooLong:
            limit = self._instance.spec.max_message_bytes
            return self._broken(f"sent an event of more than {limit} bytes; raise maxMessageBytes, or look at it")
        for event in events:
            if self._take_event(event.data):
                return not self._violated
        if complete and not self._resume():
            return self._broken("ended its event stream without a response; look at the server")
        return True

    def on_failed(self, error: CrossfadeError, resend: bool) -> None:
        del resend  # its answer has begun
        if not self._done and not self._resume(error):
            self._fail(error)

    def pause_sending(self) -> None:
        """The request is out."""

    def resume_sending(self) -> None:
        """Nothing was held back."""

    def postpone(self, by_ns: int, waited_ns: int = 0) -> None:
        """Move the deadline; time that the server waited for its client is not its own."""
        if self._conn.sink is self:
            self._conn.deadline_ns += by_ns
            self._conn.started_ns += waited_ns

    def _take_event(self, data: bytes) -> bool:
        """One message; True when there is nothing more to wait for."""
        try:
            answer = decode_answer(data)
        except NotJsonRpc:
            self._violated = True
            self._broken(f"sent an event that is not JSON-RPC: {data[:80]!r}; look at the server")
            return True
        return self._take(answer, data)

    def _resume(self, error: CrossfadeError | None = None) -> bool:
        """Read the rest from where the stream broke, if the server can."""
        if not resumable(self._instance, self._reader, error):
            return False
        self._resuming = self._instance.spawn(self._read_on(self._conn.deadline_ns))
        return True

    async def _read_on(self, deadline_ns: int) -> None:
        head = self._instance.legacy_head(self._session.upstream.get(self._instance))
        try:
            await resume(self._instance, head, self._reader, deadline_ns, self._take_event)
        except CrossfadeError as error:
            if not self._done:
                self._fail(error)

    def _take(self, answer: Answer, data: bytes) -> bool:
        """Pass one message on; True if it was the response."""
        method = answer.method
        if method is msgspec.UNSET:
            if answer.id is not msgspec.UNSET and _same(bytes(answer.id), self._call.raw_id):
                self._ended(data)
                return True
        elif answer.id is not msgspec.UNSET or method == CANCELLED:
            self._ear.hears(answer)
        else:
            self._ear.changes(answer)
            if not method.endswith("/list_changed") and method != UPDATED:
                self.speech.say(data)
        return False

    # -- Job

    def cancel(self) -> None:
        """The client is gone; the call is not cancelled by that if what is said can be read again."""
        if not self.speech.lost():
            self._stop()

    def _stop(self) -> None:
        self._over()
        self._call.leave()
        if self._resuming is not None:
            self._resuming.cancel()
        if self._conn.sink is self:
            self._conn.cancel()

    def revoke(self) -> None:
        """The client has cancelled in words; the server is told in words too, and by the id that it knows."""
        if self._conn.sink is self or self._resuming is not None:
            self._instance.tell_cancelled(self._session.upstream.get(self._instance), self._call.raw_id)
        self._stop()
        self.speech.silence()

    def pause(self) -> None:
        if self._conn.sink is self:
            self._paused = True
            self._conn.pause_answer()

    def resume(self) -> None:
        if self._paused:
            self._paused = False
            self._conn.resume_answer()

    def more(self, data: bytes) -> None:
        if self._conn.sink is self:
            self._conn.more(data)

    # -- endings

    def _over(self) -> None:
        self._done = True
        self._voice.close()
        self.resume()

    def _ended(self, data: bytes) -> None:
        self._over()
        self._call.leave()
        self.speech.end(HttpAnswer(200, data))

    def _fail(self, error: CrossfadeError) -> None:
        client = self._call.client
        client.gateway.manager.stats.errors_by_code[error.code] += 1
        self._ended(jsonrpc.error_of(self._call.raw_id, error))

    def _broken(self, what: str) -> bool:
        name = self._instance.spec.name
        error = ProtocolViolation(f"server {name!r} ({self._instance.url}) {what}", server=name)
        self._instance.last_error = error
        self._conn.fail_quietly()
        self._fail(error)
        return False


def _same(one: bytes, other: bytes) -> bool:
    """Whether two ids are the same, however their strings are written."""
    if one == other:
        return True
    left, right = msgspec.json.decode(one), msgspec.json.decode(other)
    return type(left) is type(right) and bool(left == right)
