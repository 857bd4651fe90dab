"""Owns the stdio face: one client on stdin and stdout, of either era.

Rules: one message a line and nothing else on stdout, and of a line over the limit nothing is kept; requests run
concurrently and answers go out as they come; a request that the client cancels is cancelled here and upstream, and
never answered (stdio "Cancellation"); an id is one request at a time.
"""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, BinaryIO, Final

import msgspec

from crossfade.impls.errors import CrossfadeError
from crossfade.impls.python import jsonrpc, session_rules
from crossfade.impls.python.envelope import EnvelopeError, Message, parse
from crossfade.impls.python.gateway import legacy, methods, offer
from crossfade.impls.python.gateway.listen import Listening
from crossfade.impls.python.gateway.sessions import Session, guest_of
from crossfade.impls.python.gateway.stdin import connect, skip_line
from crossfade.impls.python.gateway.suspended import SuspendedCalls
from crossfade.impls.python.notices import KINDS, Listener

if TYPE_CHECKING:
    from crossfade.impls.python.manager import PythonManager

_GRACE_S: Final = 5.0
"""How long the answers that are missing at the end of stdin may take; clients wait about so long before they kill."""
_SHOWN: Final = 80
"""How much of an id is repeated in a message about it."""


async def serve_stdio(manager: PythonManager, stdin: BinaryIO | None = None, stdout: BinaryIO | None = None) -> None:
    """Serve until stdin ends; then wait for what is under way, ``_GRACE_S`` at most, and return."""
    reader, transport = await connect(stdin or sys.stdin.buffer, manager.config.gateway.max_body_bytes)
    face = _Face(manager, stdout or sys.stdout.buffer)
    try:
        while True:
            try:
                line = await reader.readuntil(b"\n")
            except asyncio.IncompleteReadError as error:
                line = error.partial
                if not line:
                    break
            except asyncio.LimitOverrunError as error:
                face.write(
                    jsonrpc.error(None, jsonrpc.INVALID_REQUEST, "the line is too long; raise gateway.maxBodyBytes")
                )
                await skip_line(reader, error)
                continue
            face.received(line.strip())
        await face.drain(_GRACE_S)
    finally:
        face.cancel()
        transport.close()


class _Line:
    """A request's way to the client: a Speaker."""

    __slots__ = ("_face", "_raw_id")

    def __init__(self, face: _Face, raw_id: bytes) -> None:
        self._face = face
        self._raw_id = raw_id

    def say(self, message: bytes, *, needed: bool = False) -> None:
        del needed  # a client that does not read stops us
        if self._raw_id in self._face.tasks:
            self._face.write(message)


class _Lines(Listener):
    """What a legacy client hears of changes."""

    __slots__ = ("_face",)

    def __init__(self, face: _Face) -> None:
        super().__init__(KINDS)
        self._face = face

    def tell(self, method: str, params: dict[str, msgspec.Raw]) -> None:
        self._face.write(jsonrpc.notification(method, jsonrpc.encode(params)))


class _Face:
    """The conversation: what is under way, by the client's own id."""

    def __init__(self, manager: PythonManager, out: BinaryIO) -> None:
        self._manager = manager
        self._out = out
        self._session: Session | None = None
        self._suspended = SuspendedCalls(manager.config.gateway.input_timeout_ms)
        self._leaving = asyncio.Event()
        self.tasks: dict[bytes, asyncio.Task[None]] = {}

    def write(self, message: bytes) -> None:
        """One line. A client that does not read stops us here, as it stops any program."""
        self._out.write(message.replace(b"\r", b" ").replace(b"\n", b" ") + b"\n")
        self._out.flush()

    def received(self, line: bytes) -> None:
        """One message of the client."""
        if not line:
            return
        try:
            message = parse(line)
        except EnvelopeError as error:
            self.write(jsonrpc.error(error.raw_id, error.code, error.message))
            return
        method = message.method
        if method is msgspec.UNSET:
            if self._session is not None:
                self._session.questions.answered(line)
            return
        if message.id is msgspec.UNSET:
            if method == "notifications/cancelled":
                task = self.tasks.pop(legacy.cancelled_id(line), None)
                if task is not None:
                    task.cancel()
            elif self._session is not None:
                legacy.noted(self._session, method, line)
            return
        raw_id = bytes(message.id)
        if raw_id in self.tasks:
            # Without that id: the client would take it for the answer to the request that it is waiting for.
            self.write(jsonrpc.error(None, jsonrpc.INVALID_REQUEST, _taken(raw_id)))
            return
        if method == "initialize":
            params = None if message.params is msgspec.UNSET else methods.params_of(line)
            agreed = session_rules.agree(params)
            if params is None or agreed is None:
                self.write(jsonrpc.error(raw_id, jsonrpc.INVALID_PARAMS, session_rules.NO_PARAMS))
                return
            self._end_session()
            timeout_ms = self._manager.config.gateway.input_timeout_ms
            self._session = Session(agreed, guest_of(params), timeout_ms)
            work = self._welcome(raw_id, self._session)
        else:
            work = self._answer(message, method, raw_id, line)
        task = asyncio.get_running_loop().create_task(work)
        self.tasks[raw_id] = task
        task.add_done_callback(lambda done: self._ended(raw_id, done))

    def _ended(self, raw_id: bytes, task: asyncio.Task[None]) -> None:
        """A request is over. One that was cancelled has left its id, and another may have it by now."""
        if self.tasks.get(raw_id) is task:
            del self.tasks[raw_id]

    async def _welcome(self, raw_id: bytes, session: Session) -> None:
        servers = list(self._manager.registry.values())
        await offer.meet(servers)
        self.write(jsonrpc.result(raw_id, offer.initialize(servers, session.version)))
        if session is self._session:
            session.listener = _Lines(self)
            self._manager.notices.join(session.listener)

    async def _listen(self, raw_id: bytes, params: bytes) -> None:
        listening = Listening(self._manager, raw_id, self._send)
        try:
            self.write(await listening.open(params))
            listening.begin()
            await self._leaving.wait()
        except CrossfadeError as error:
            self.write(jsonrpc.error_of(raw_id, error))
        else:
            self.write(listening.result())
        finally:
            listening.close()

    def _send(self, message: bytes) -> bool:
        self.write(message)
        return True

    async def _answer(self, message: Message, method: str, raw_id: bytes, line: bytes) -> None:
        modern = session_rules.is_modern(None, message)
        refusal = session_rules.modern_verdict(None, message) if modern else None
        if refusal is not None:
            self.write(jsonrpc.error(raw_id, refusal.code, refusal.message, refusal.data))
            return
        session = None if modern else self._session
        caller = methods.Caller(modern, session, speaker=_Line(self, raw_id), suspended=self._suspended)
        if not caller.modern and self._session is None and method != "ping":
            text = "send initialize first, or params._meta of revision 2026-07-28"
            self.write(jsonrpc.error(raw_id, jsonrpc.INVALID_REQUEST, text))
            return
        if caller.modern and method == "subscriptions/listen":
            await self._listen(raw_id, methods.params_of(line))
            return
        answer = await methods.answer(self._manager, caller, method, raw_id, methods.params_of(line))
        self.write(answer.body)

    async def drain(self, grace_s: float) -> None:
        """Let what is under way finish, for a while; nobody answers questions any more, and what would never end is
        ended.
        """
        self._leaving.set()
        if self._session is not None:
            self._session.questions.end()
        if self.tasks:
            await asyncio.wait(self.tasks.values(), timeout=grace_s)

    def cancel(self) -> None:
        """Stop what is under way; the client is gone."""
        self._suspended.close()
        for task in list(self.tasks.values()):
            task.cancel()
        self._end_session()

    def _end_session(self) -> None:
        if self._session is not None:
            self._session.end()
            if self._session.listener is not None:
                self._manager.notices.leave(self._session.listener)


def _taken(raw_id: bytes) -> str:
    """Why a second request with an id is refused."""
    shown = raw_id[:_SHOWN].decode(errors="replace")
    return f"id {shown} is in flight already; send it again with an id of its own, or when that one is answered"
