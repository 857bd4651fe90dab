"""A server of the HTTP+SSE transport of 2024-11-05: ``python -m tests.contract.servers.old_sse [--foreign]``.

GET /mcp is the stream, whose first event names the address of the POSTs; every answer comes on the stream. Prints
``{"port": N}`` and ends when its stdin does. ``--foreign`` names an address at another origin.
"""

from __future__ import annotations

import itertools
import json
import queue
import sys
from http.server import BaseHTTPRequestHandler
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

from tests.contract.servers.plain import Server, run

Message = dict[str, Any]
TOOLS = [
    {"name": name, "inputSchema": {"type": "object"}} for name in ("echo", "progress", "drop", "announce", "refused")
]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    streams: ClassVar[dict[str, queue.Queue[Message | None]]] = {}
    numbers: ClassVar[Any] = itertools.count(1)
    foreign: ClassVar[bool] = False
    refused: ClassVar[list[str]] = []

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 -- the base class names it
        """Silence: stderr belongs to the tests."""

    def do_GET(self) -> None:
        if self.path != "/mcp":
            self._plain(404)
            return
        key = str(next(self.numbers))
        told: queue.Queue[Message | None] = queue.Queue()
        self.streams[key] = told
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        base = "http://localhost:1" if self.foreign else ""
        try:
            self.wfile.write(f"event: endpoint\r\ndata: {base}/messages?session={key}\r\n\r\n".encode())
            while (message := told.get()) is not None:
                self.wfile.write(f"event: message\rdata: {json.dumps(message)}\r\r".encode())
                self.wfile.flush()
        except OSError:
            pass  # the client is gone
        self.streams.pop(key, None)
        self.close_connection = True

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        parts = urlsplit(self.path)
        told = self.streams.get(parse_qs(parts.query).get("session", [""])[0])
        if parts.path != "/messages" or told is None:
            self.refused.append(self.path)
            self._plain(405 if parts.path == "/mcp" else 404)
            return
        self._plain(202)
        message: Message = json.loads(body)
        if "id" in message and "method" in message:
            answer(message, told)

    def _plain(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()


def answer(message: Message, told: queue.Queue[Message | None]) -> None:
    method, params = message["method"], message.get("params") or {}
    result: Message = {}
    if method == "initialize":
        capabilities = {"tools": {"listChanged": True}}
        info = {"name": "old", "version": "1"}
        result = {"protocolVersion": "2024-11-05", "capabilities": capabilities, "serverInfo": info}
    elif method == "tools/list":
        result = {"tools": TOOLS}
    elif method == "tools/call":
        name, arguments = params["name"], params.get("arguments") or {}
        if name == "drop":
            told.put(None)
            return
        if name == "announce":
            for every in list(Handler.streams.values()):
                every.put({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"})
        token = (params.get("_meta") or {}).get("progressToken")
        if name == "progress" and token is not None:
            progress = {"progressToken": token, "progress": 1, "total": 2}
            told.put({"jsonrpc": "2.0", "method": "notifications/progress", "params": progress})
        if name == "refused":
            name = json.dumps(Handler.refused)
        result = {"content": [{"type": "text", "text": str(arguments.get("text", name))}]}
    told.put({"jsonrpc": "2.0", "id": message["id"], "result": result})


def main() -> None:
    Handler.foreign = "--foreign" in sys.argv
    run(Server(("127.0.0.1", 0), Handler))


if __name__ == "__main__":
    main()
