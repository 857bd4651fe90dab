"""A fleet to be asked by hand: what the tests of the fleet stand on."""

from __future__ import annotations

import contextlib
import http.client
import json
import sys
from collections.abc import Iterator
from typing import Any, ClassVar

from crossfade.harness.processes import Child

META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientInfo": {"name": "t", "version": "0"},
    "io.modelcontextprotocol/clientCapabilities": {},
}
MODERN = {"MCP-Protocol-Version": "2026-07-28"}


@contextlib.contextmanager
def fleet(generator: str, **config: Any) -> Iterator[tuple[Child, int]]:
    with Child("fleet", [sys.executable, "-m", "crossfade.harness.fleet"]) as child:
        child.send({"generator": generator, **config})
        ready = child.expect("ready", timeout_s=20)
        assert ready["generator"] == generator
        yield child, ready["port"]


class Client:
    """One keep-alive connection; the fixture above closes it."""

    opened: ClassVar[list[Client]] = []

    def __init__(self, port: int) -> None:
        self.opened.append(self)
        self.http = http.client.HTTPConnection("127.0.0.1", port, timeout=10)

    def post(self, message: Any, headers: dict[str, str] | None = None) -> tuple[int, dict[str, str], Any]:
        body = message if isinstance(message, bytes | list) else json.dumps(message).encode()
        self.http.request(
            "POST", "/mcp", body, {"Content-Type": "application/json", **(headers or {})}, encode_chunked=True
        )
        answer = self.http.getresponse()
        text = answer.read()
        if answer.getheader("Content-Type", "").startswith("text/event-stream"):
            text = next(line[6:] for line in text.splitlines() if line.startswith(b"data: "))
        return answer.status, dict(answer.getheaders()), json.loads(text) if text else None

    def modern(self, method: str, more: dict[str, Any] | None = None, **headers: str) -> tuple[int, Any]:
        params = {"_meta": META, **(more or {})}
        named = {"Mcp-Name": params["name"]} if "name" in params else {}
        status, _, answer = self.post(
            {"jsonrpc": "2.0", "id": 7, "method": method, "params": params},
            {**MODERN, "Mcp-Method": method, **named, **{k.replace("_", "-"): v for k, v in headers.items()}},
        )
        return status, answer

    def echo(self, text: str, **headers: str) -> tuple[int, Any]:
        return self.modern("tools/call", {"name": "echo", "arguments": {"text": text, "n": 1}}, **headers)

    def initialize(self) -> dict[str, str]:
        params = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "0"}}
        status, headers, answer = self.post({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params})
        assert (status, answer["result"]["protocolVersion"]) == (200, "2025-06-18")
        return {"Mcp-Session-Id": headers["Mcp-Session-Id"]}
