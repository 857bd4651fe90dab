"""The fixture server over Streamable HTTP: ``python -m tests.contract.servers.http --era modern``.

Prints ``{"port": N}`` and ends when its stdin does. Rule: strict as the specification is (sessions in the legacy era,
``Mcp-*`` headers equal to the body in the modern one), so that a manager that is sloppy upstream fails here.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import select
import socket
import sys
import threading
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.contract.servers.behaviour import Behaviour, Call, Literal, Message, RpcError, answer, failure

NAMED = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}


class State:
    """What outlives a connection: sessions with their calls in flight, and how answers are dressed."""

    def __init__(self, behaviour: Behaviour, *, sse: bool) -> None:
        self.behaviour, self.sse = behaviour, sse
        self.sessions: dict[str, dict[Any, socket.socket]] = {}
        self.connections = 0
        behaviour.forget_sessions = self.sessions.clear


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    state: State
    disable_nagle_algorithm = True

    def setup(self) -> None:
        super().setup()
        self.state.connections += 1
        self.state.behaviour.log.add("connected", connection=self.state.connections)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 -- the base class names it
        """Silence: stderr belongs to the tests."""

    def do_GET(self) -> None:
        if self.path == "/log":
            self._json(200, {"log": self.state.behaviour.log.wait(None, 0), "sessions": len(self.state.sessions)})
        elif self.headers.get("Mcp-Session-Id", "") not in self.state.sessions:
            self._refuse(405)
        else:
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(b": open\n\n")
            select.select([self.connection], [], [], 600)
            self.close_connection = True

    def do_DELETE(self) -> None:
        known = self.state.sessions.pop(self.headers.get("Mcp-Session-Id", ""), None) is not None
        self.state.behaviour.log.add("DELETE", known=known)
        self._refuse(200 if known else 404)

    def do_POST(self) -> None:
        message: Message = json.loads(self._body())
        method = message.get("method", "(answer)")
        session = self.headers.get("Mcp-Session-Id")
        headers = {name.lower(): value for name, value in self.headers.items()}
        entry = {"id": message.get("id"), "params": message.get("params"), "session": session}
        self.state.behaviour.log.add(method, **entry, headers=headers)
        try:
            modern = self.state.behaviour.is_modern(message)
            if modern:
                self._check_headers(message)
            elif not self._session_is_fine(method, session):
                return
            if "id" not in message or "method" not in message:
                self._notified(message, session)
                self._refuse(202)
                return
            self._serve(message, headers, modern=modern, session=session)
        except RpcError as error:
            status = {-32601: 404, -32020: 400, -32022: 400, -32602: 400}.get(error.code, 200)
            self._json(status if self.state.behaviour.era != "legacy" else 400, failure(message.get("id"), error))

    def _session_is_fine(self, method: str, session: str | None) -> bool:
        if method == "initialize":
            return True
        if session is None:
            self._json(400, failure(None, RpcError(-32000, "Bad Request: no valid session ID provided")))
        elif session not in self.state.sessions:
            self._json(404, failure(None, RpcError(-32001, "Session not found")))
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
        if message.get("method") == "notifications/cancelled":
            wake = self.state.sessions.get(session or "", {}).get(message["params"]["requestId"])
            if wake is not None:
                wake.send(b"x")

    def _serve(self, message: Message, headers: dict[str, str], *, modern: bool, session: str | None) -> None:
        ours, theirs = socket.socketpair()
        if session is not None:
            self.state.sessions[session][message["id"]] = theirs
        sent: list[Message] = []
        call = Call(
            message["id"], message.get("params") or {}, lambda s: self._wait(ours, s), sent.append, _cannot_ask, headers
        )
        try:
            result = self.state.behaviour.handle(message["method"], call, modern=modern)
        except RpcError as error:
            status = 404 if modern and error.code == -32601 else 200
            self._answer(status, sent, failure(message["id"], error), None)
            return
        finally:
            self.state.sessions.get(session or "", {}).pop(message["id"], None)
            ours.close()
            theirs.close()
        if isinstance(result, Literal):
            self._literal(result)
        elif result is None:
            self.close_connection = True
        else:
            fresh = uuid.uuid4().hex if message["method"] == "initialize" else None
            if fresh is not None:
                self.state.sessions[fresh] = {}
            self._answer(200, sent, answer(message["id"], result), fresh)

    def _wait(self, wake: socket.socket, timeout_s: float) -> bool:
        """True if the client cancelled or went away before the time was up."""
        ready, _, _ = select.select([self.connection, wake], [], [], timeout_s)
        if self.connection in ready:
            self.state.behaviour.log.add("disconnected")
        return bool(ready)

    def _answer(self, status: int, before: list[Message], message: Message, session: str | None) -> None:
        if not (before or self.state.sse):
            self._json(status, message, session)
            return
        self.send_response(status)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        if session is not None:
            self.send_header("Mcp-Session-Id", session)
        self.end_headers()
        priming = b"id: prime\ndata: \n\n"  # 2025-11-25, "Resumability": an event without data comes first
        self.wfile.write(b"%x\r\n%s\r\n" % (len(priming), priming))
        for number, item in enumerate([*before, message]):
            event = b": note\nid: %d\nevent: message\ndata: %s\n\n" % (number, json.dumps(item).encode())
            cut = len(event) // 2  # an event split over two chunks, as a proxy in between may do
            for part in (event[:cut], event[cut:]):
                self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
                self.wfile.flush()
        self.wfile.write(b"0\r\n\r\n")

    def _literal(self, literal: Literal) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(literal.body) + (1000 if literal.then_close else 0)))
        self.end_headers()
        try:
            self.wfile.write(literal.body)
        except OSError:  # the manager gave up on it, as it should
            self.close_connection = True
        if literal.then_close:
            self.close_connection = True

    def _json(self, status: int, message: Message, session: str | None = None) -> None:
        body = json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if session is not None:
            self.send_header("Mcp-Session-Id", session)
        self.end_headers()
        self.wfile.write(body)

    def _refuse(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", "0")))
        body = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body


class Server(ThreadingHTTPServer):
    """Quiet about connections that are cut: that is what the tests do."""

    daemon_threads = True
    request_queue_size = 256

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


def _cannot_ask(method: str, _: Message) -> Message:
    return {"unanswered": method}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--era", choices=("legacy", "modern", "both"), default="legacy")
    parser.add_argument("--name", default="fixture")
    parser.add_argument("--sse", action="store_true", help="answer every request with an event stream")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--fail", type=int, default=0, help="the first so many requests get no answer")
    parser.add_argument("--delay-ms", type=int, default=0, help="the others get theirs so late")
    options = parser.parse_args()
    behaviour = Behaviour(era=options.era, name=options.name, fail=options.fail, delay_ms=options.delay_ms)
    Handler.state = State(behaviour, sse=options.sse)
    server = Server(("127.0.0.1", options.port), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdout.write(json.dumps({"port": server.server_address[1]}) + "\n")
    sys.stdout.flush()
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    main()
