"""Owns the pipes of one child: lines out, lines in, requests in flight by our ids, and the end of its process group.

Rule: everything in flight fails at once when the child ends, sends a line that is not JSON-RPC while somebody waits, or
sends one longer than the limit; before the handshake is done other lines are taken for a banner and kept for the error
message only.
"""

from __future__ import annotations

import asyncio
import signal
from time import monotonic_ns
from typing import TYPE_CHECKING, Final

import msgspec

from crossfade.impls.errors import CrossfadeError, ProtocolViolation, ServerCrashed, ServerStartError, ServerTimeout
from crossfade.impls.python import jsonrpc
from crossfade.impls.python.child import Child
from crossfade.impls.python.jsonrpc import Answer, NotJsonRpc, decode_answer
from crossfade.impls.python.stderr_log import StderrLog
from crossfade.impls.python.stdio_talk import Talk

if TYPE_CHECKING:
    from crossfade.impls.python.upstream_stdio import StdioInstance
    from crossfade.impls.python.voice import Voice

EXIT_WAIT_S: Final = 2.0
TERM_WAIT_S: Final = 2.0
_LAST_WORDS_S: Final = 0.2
_CANCELLED: Final = (
    b'{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":%d,"reason":"the caller gave up"}}'
)


class Reply:
    """Who receives an answer: exactly one of the two is called, unless the request is cancelled."""

    __slots__ = ()

    def answered(self, answer: Answer) -> None:
        """A response, with ``result`` or ``error``."""
        raise NotImplementedError

    def failed(self, error: CrossfadeError) -> None:
        """There will be none."""
        raise NotImplementedError


class Pending:
    """A request in flight. ``counted`` ones hold a lease and owe a verdict; handshakes do not."""

    __slots__ = ("counted", "deadline_ns", "reply", "started_ns")

    def __init__(self, reply: Reply, started_ns: int, deadline_ns: int, counted: bool) -> None:
        self.reply = reply
        self.started_ns = started_ns
        self.deadline_ns = deadline_ns
        self.counted = counted


class StdioConnection:
    """One child and its conversation."""

    def __init__(self, instance: StdioInstance, conn_id: int) -> None:
        self.instance = instance
        self.id = conn_id
        self._child: Child | None = None
        self._in_flight: dict[int, Pending] = {}
        self.talk = Talk(self, own=instance.own)
        self._partial: list[bytes] = []
        self._partial_size = 0
        self._limit = instance.spec.max_message_bytes
        self._log = StderrLog(instance.spec.name)
        self._noise = b""
        self._ready = False
        self._ended = False
        self._stdout_open = True

    # -- requests

    def started(self) -> None:
        """The handshake is done: from now on every line is protocol."""
        self._ready = True

    def request(self, method: str, params: bytes, reply: Reply, deadline_ns: int, voice: Voice | None = None) -> int:
        """Send a request for a lease that the caller has; answered by ``reply``. Returns our id, to ``cancel`` with."""
        request_id = self.ask(method, params, reply, deadline_ns, counted=True)
        if voice is not None:
            self.talk.enter(request_id, voice, self._in_flight[request_id])
        return request_id

    def ask(self, method: str, params: bytes, reply: Reply, deadline_ns: int, *, counted: bool = False) -> int:
        """Send a request; ``counted`` false is for handshakes."""
        request_id = self.instance.server.next_id()
        self._in_flight[request_id] = Pending(reply, monotonic_ns(), deadline_ns, counted)
        self._write(jsonrpc.request(request_id, method, params))
        return request_id

    def tell(self, message: bytes) -> None:
        """Send a notification."""
        self._write(message)

    def cancel(self, request_id: int) -> None:
        """Nobody waits any more: tell the child, and give the lease back. A late answer is dropped."""
        pending = self._in_flight.pop(request_id, None)
        if pending is None:
            return
        if self.talk.turns:
            self.talk.leave(request_id)
        self._write(_CANCELLED % request_id)
        if pending.counted:
            self.instance.abandon(monotonic_ns(), pending.started_ns)
            self.instance.release(self, True)

    def rest(self, now_ns: int) -> None:
        """Nobody uses it yet. A pipe does not grow stale."""

    def expire(self, now_ns: int) -> None:
        """Fail what is past its deadline, and tell the child to stop working on it."""
        late = [(i, pending) for i, pending in self._in_flight.items() if now_ns >= pending.deadline_ns]
        for request_id, pending in late:
            waited_ms = (now_ns - pending.started_ns) // 1_000_000
            self._write(_CANCELLED % request_id)
            self._settle(request_id, pending, ok=False)
            pending.reply.failed(
                ServerTimeout(
                    f"{self._who()} did not answer within {waited_ms} ms; raise the timeout, or look at the server"
                    f"{self.said()}",
                    server=self.instance.spec.name,
                )
            )

    def _write(self, message: bytes) -> None:
        stdin = self._child.stdin if self._child is not None else None
        if stdin is not None and not stdin.is_closing():
            # A line break inside JSON stands between tokens only, so a space says the same.
            if b"\n" in message or b"\r" in message:
                message = message.replace(b"\r", b" ").replace(b"\n", b" ")
            stdin.write(message + b"\n")

    def _settle(self, request_id: int, pending: Pending, *, ok: bool) -> None:
        del self._in_flight[request_id]
        if self.talk.turns:
            self.talk.leave(request_id)
        if pending.counted:
            self.instance.done(monotonic_ns(), pending.started_ns, ok)
            self.instance.release(self, True)

    # -- ChildListener

    def attach(self, child: Child) -> None:
        """The child runs."""
        self._child = child

    @property
    def pid(self) -> int:
        """Of the process, and of its group."""
        return self._child.pid if self._child is not None else 0

    @property
    def returncode(self) -> int | None:
        """None while it runs; negative for a signal."""
        return self._child.returncode if self._child is not None else None

    def stdout_received(self, data: bytes) -> None:
        if self._ended:
            return
        lines = data.split(b"\n")
        rest = lines.pop()
        if lines and self._partial:
            self._partial.append(lines[0])
            lines[0] = b"".join(self._partial)
            self._partial.clear()
            self._partial_size = 0
        for line in lines:
            if len(line) > self._limit:
                self._too_long()
                return
            self._line_received(line)
        if rest:
            self._partial.append(rest)
            self._partial_size += len(rest)
            if self._partial_size > self._limit:
                self._too_long()

    def _line_received(self, line: bytes) -> None:
        try:
            answer = decode_answer(line)
        except NotJsonRpc:
            self._not_json(line)
            return
        if answer.method is not msgspec.UNSET:
            self._message_received(answer)
            return
        if answer.id is msgspec.UNSET:
            self._not_json(line)
            return
        key = bytes(answer.id)
        request_id = int(key) if key.isdigit() else -1
        pending = self._in_flight.get(request_id)
        if pending is not None:
            self._settle(request_id, pending, ok=True)
            pending.reply.answered(answer)

    def _message_received(self, message: Answer) -> None:
        if not self.talk.own:
            self.instance.server.heard(self.instance, message)
        if self.talk.hears(message) or message.id is msgspec.UNSET:
            return
        if message.method == "ping":
            self._write(jsonrpc.result(message.id, b"{}"))
        else:
            text = f"crossfade declared no capability for {message.method}"
            self._write(jsonrpc.error(message.id, jsonrpc.METHOD_NOT_FOUND, text))

    def _not_json(self, line: bytes) -> None:
        if not line.strip():
            return
        self._noise = line[:200]
        if self._ready and self._in_flight:
            self._fail_all(
                ProtocolViolation(
                    f"{self._who()} wrote a line that is not JSON-RPC to stdout: {line[:80]!r}; make it log to stderr",
                    server=self.instance.spec.name,
                )
            )

    def _too_long(self) -> None:
        self._partial.clear()
        self._end(
            ProtocolViolation(
                f"{self._who()} wrote a line of more than {self._limit} bytes; "
                "raise maxMessageBytes, or look at the server",
                server=self.instance.spec.name,
            )
        )
        self.kill()

    def stderr_received(self, data: bytes) -> None:
        self._log.received(data)

    def stdout_ended(self) -> None:
        self._stdout_open = False
        self._ending()

    def exited(self, returncode: int) -> None:
        self._ending()

    def _ending(self) -> None:
        """The process is over when it has exited and its last words are read. Either may come first, and a grandchild
        that holds the pipe, or a child that closes it and lives on, must not make us wait for the other.
        """
        if self.returncode is not None and not self._stdout_open:
            self._process_ended()
        else:
            asyncio.get_running_loop().call_later(_LAST_WORDS_S, self._process_ended)

    def _process_ended(self) -> None:
        if not self._ended:
            code = self.returncode
            if code is None:
                how = "closed its stdout"
            else:
                how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"exited with code {code}"
            self._end(self._crash(how))
        self.kill()

    # -- endings

    def _crash(self, how: str) -> CrossfadeError:
        self._log.ended()
        kind = ServerCrashed if self._ready else ServerStartError
        then = "call again, it is restarted" if self._ready else "run the command by hand to see why"
        return kind(f"{self._who()} {how}{self.said()}; {then}", server=self.instance.spec.name)

    def _end(self, error: CrossfadeError) -> None:
        self._ended = True
        self._fail_all(error)
        self.instance.ended(self, error)

    def _fail_all(self, error: CrossfadeError) -> None:
        self.instance.last_error = error
        for request_id, pending in list(self._in_flight.items()):
            self._settle(request_id, pending, ok=False)
            pending.reply.failed(error)

    def close(self) -> None:
        """End it without ceremony; ``StdioInstance.stop`` does it properly."""
        self.kill()

    def kill(self) -> None:
        """SIGKILL to the whole group; safe at any time."""
        if self._child is not None:
            self._child.kill()

    async def shutdown(self, *, kill: bool = False) -> None:
        """Close stdin, wait, SIGTERM, wait, SIGKILL to the group; a cancelled one kills at once."""
        self._ended = True
        child = self._child
        try:
            if child is not None and not kill and child.returncode is None:
                if child.stdin is not None:
                    child.stdin.close()
                if not await child.wait(EXIT_WAIT_S):
                    child.signal(signal.SIGTERM)
                    await child.wait(TERM_WAIT_S)
            elif child is not None:
                child.signal(signal.SIGTERM)
        finally:
            self._fail_all(self._crash("was stopped"))
            self.kill()

    def _who(self) -> str:
        return f"server {self.instance.spec.name!r} ({self.instance.spec.command})"

    def said(self) -> str:
        """What the child wrote last, as the end of an error message; empty if it was silent."""
        if words := self._log.said():
            return words
        return f"; it wrote to stdout: {self._noise[:80]!r}" if self._noise else ""
