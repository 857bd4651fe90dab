"""The fixture server over Streamable HTTP: ``python -m tests.contract.servers.http --era modern``.

Prints ``{"port": N}`` and ends when its stdin does. Rule: strict as the specification is (sessions in the legacy era,
``Mcp-*`` headers equal to the body in the modern one), so that a manager that is sloppy upstream fails here.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import json
import select
import socket
import uuid
from http.server import BaseHTTPRequestHandler

from tests.contract.servers.audience import Listener
from tests.contract.servers.base import Call, Dropped, Literal, Message, Outcome, Peer, RpcError, answer, failure
from tests.contract.servers.behaviour import Behaviour
from tests.contract.servers.plain import Plain, Server, run
from tests.contract.servers.streams import NEWLINES, Asking, EventStream, Session

NAMED = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}
STATUS = {-32601: 404, -32020: 400, -32021: 400, -32022: 400, -32602: 400}


class State:
    """What outlives a connection: sessions, and how answers are dressed."""

    def __init__(self, behaviour: Behaviour, *, sse: bool, newline: bytes = b"\n") -> None:
        self.behaviour, self.sse, self.newline = behaviour, sse, newline
        self.sessions: dict[str, Session] = {}
        self.connections = self.streams = 0
        behaviour.forget_sessions = self.sessions.clear


class Handler(Plain, BaseHTTPRequestHandler):
    """One connection."""

    state: State

    def setup(self) -> None:
        super().setup()
        self.state.connections += 1
        self.state.behaviour.log.add("connected", connection=self.state.connections)

    def do_GET(self) -> None:
        session = self.state.sessions.get(self.headers.get("Mcp-Session-Id", ""))
        last_event = self.headers.get("Last-Event-ID")
        if self.path == "/log":
            self.json(200, {"log": self.state.behaviour.log.wait(None, 0), "sessions": len(self.state.sessions)})
            return
        self.state.behaviour.log.add("GET", session=self.headers.get("Mcp-Session-Id"), last_event=last_event)
        if session is None:
            self.refuse(404 if self.headers.get("Mcp-Session-Id") else 405)
        elif last_event in session.promised:
            stream = self._stream()
            stream.finish(session.promised.pop(last_event))
            stream.dispose()
        else:
            stream = self._stream()
            self._keep(stream, Listener(stream.send, stream.finish, session.peer))

    def _keep(self, stream: EventStream, listener: Listener) -> None:
        """A stream of changes, until either side ends it."""
        self.state.behaviour.audience.join(listener)
        stream.start()  # whoever sees it open can be sure to hear
        ready, _, _ = select.select([self.connection, stream.ended], [], [], 600)
        self.state.behaviour.audience.leave(listener)
        self.state.behaviour.log.add("unlistened", id=listener.id, by_client=self.connection in ready)
        stream.dispose()
        self.close_connection = True

    def do_DELETE(self) -> None:
        known = self.state.sessions.pop(self.headers.get("Mcp-Session-Id", ""), None) is not None
        self.state.behaviour.log.add("DELETE", known=known, session=self.headers.get("Mcp-Session-Id"))
        self.refuse(200 if known else 404)

    def do_POST(self) -> None:
        message: Message = json.loads(self.body())
        method = message.get("method", "(answer)")
        session = self.headers.get("Mcp-Session-Id")
        headers = {name.lower(): value for name, value in self.headers.items()}
        entry = {"id": message.get("id"), "params": message.get("params"), "session": session}
        self.state.behaviour.log.add(method, **entry, headers=headers)
        try:
            modern = "method" in message and self.state.behaviour.is_modern(message)
            if modern:
                self._check_headers(message)
            elif not self._session_is_fine(method, session):
                return
            if "id" not in message or "method" not in message:
                self._notified(message, session)
                self.refuse(202)
                return
            self._serve(message, headers, modern=modern, session=session)
        except RpcError as error:
            status = STATUS.get(error.code, 200)
            self.json(status if self.state.behaviour.era != "legacy" else 400, failure(message.get("id"), error))

    def _session_is_fine(self, method: str, session: str | None) -> bool:
        if method == "initialize":
            return True
        if session is None:
            self.json(400, failure(None, RpcError(-32000, "Bad Request: no valid session ID provided")))
        elif session not in self.state.sessions:
            self.json(404, failure(None, RpcError(-32001, "Session not found")))
        else:
            return True
        return False

    def _check_headers(self, message: Message) -> None:
        """Streamable HTTP, "Standard headers": what is in the header must be what is in the body."""
        method, params = message["method"], message.get("params") or {}
        expected = {
            "Mcp-Method": method,
            "MCP-Protocol-Version": params["_meta"]["io.modelcontextprotocol/protocolVersion"],
        }
        if method in NAMED:
            expected["Mcp-Name"] = params.get(NAMED[method], "")
        for name, value in expected.items():
            got = self.headers.get(name)
            if got is not None and got.startswith("=?base64?") and got.endswith("?="):
                got = base64.b64decode(got[9:-2]).decode()
            if got != value:
                raise RpcError(-32020, f"Header mismatch: {name} header value {got!r} does not match {value!r}")

    def _notified(self, message: Message, session: str | None) -> None:
        known = self.state.sessions.get(session or "")
        if known is None:
            return
        if "method" not in message:
            expected = known.answered(message)
            self.state.behaviour.log.add("(response)", message=message, session=session, expected=expected)
        elif message["method"] == "notifications/cancelled":
            wake = known.calls.get(message["params"]["requestId"])
            if wake is not None:
                with contextlib.suppress(OSError):
                    wake.send(b"x")

    def _serve(self, message: Message, headers: dict[str, str], *, modern: bool, session: str | None) -> None:
        params, stream = message.get("params") or {}, self._stream()
        if modern and message["method"] == "subscriptions/listen":
            peer = Peer.of_request(params["_meta"])
            self._keep(stream, Listener(stream.send, stream.finish, peer, params["notifications"], message["id"]))
            return
        known = self.state.sessions.get(session or "")
        if known is None:
            known = Session(Peer.of_request(params["_meta"]) if modern else Peer(uuid.uuid4().hex))
        wake = socket.socketpair()
        known.calls[message["id"]] = wake[1]
        asking = Asking(known, stream, self.state.behaviour.audience, self.connection, wake)
        waiting = [self.connection, wake[0]]
        call = Call(
            message["id"],
            params,
            lambda s: self._wait(waiting, s),
            stream.send,
            asking,
            headers,
            known.peer,
            modern,
            stream.comment,
        )
        try:
            result = self.state.behaviour.handle(message["method"], call)
        except RpcError as error:
            status = STATUS.get(error.code, 200) if modern and error.code != -32602 else 200
            self._answer(stream, status, failure(message["id"], error), None)
            return
        finally:
            known.calls.pop(message["id"], None)
            for end in wake:
                end.close()
        self._conclude(message, result, known, stream)

    def _conclude(self, message: Message, result: Outcome, known: Session, stream: EventStream) -> None:
        if isinstance(result, Literal):
            self.literal(result)
        elif isinstance(result, Dropped):
            known.promised[stream.promise(result.retry_ms)] = answer(message["id"], result.result)
        elif result is None:
            self.close_connection = True
        else:
            fresh = known.peer.id if message["method"] == "initialize" else None
            if fresh is not None:
                self.state.sessions[fresh] = known
            self._answer(stream, 200, answer(message["id"], result), fresh)

    def _stream(self) -> EventStream:
        self.state.streams += 1
        return EventStream(self, f"s{self.state.streams}", self.state.newline)

    def _wait(self, waiting: list[socket.socket], timeout_s: float) -> bool:
        """True if the client cancelled or went away before the time was up."""
        ready, _, _ = select.select(waiting, [], [], timeout_s)
        if self.connection in ready:
            self.state.behaviour.log.add("disconnected")
        return bool(ready)

    def _answer(self, stream: EventStream, status: int, message: Message, session: str | None) -> None:
        if stream.opened or self.state.sse:
            stream.open(status, session)
            stream.finish(message)
            stream.dispose()
        else:
            self.json(status, message, session)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--era", choices=("legacy", "modern", "both"), default="legacy")
    parser.add_argument("--name", default="fixture")
    parser.add_argument("--sse", action="store_true", help="answer every request with an event stream")
    parser.add_argument("--newline", choices=NEWLINES, default="lf", help="what ends the lines of event streams")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--fail", type=int, default=0, help="the first so many requests get no answer")
    parser.add_argument("--delay-ms", type=int, default=0, help="the others get theirs so late")
    options = parser.parse_args()
    behaviour = Behaviour(era=options.era, name=options.name, fail=options.fail, delay_ms=options.delay_ms)
    Handler.state = State(behaviour, sse=options.sse, newline=NEWLINES[options.newline])
    run(Server(("127.0.0.1", options.port), Handler))


if __name__ == "__main__":
    main()
