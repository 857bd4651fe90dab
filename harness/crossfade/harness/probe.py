"""A blocking MCP client of a few lines: one request at a time, for parity, warm-up and the first success after a fault.

It parses whole answers and is therefore never the load generator.
"""

from __future__ import annotations

import contextlib
import http.client
from types import TracebackType
from typing import Any, Literal, Self

import msgspec

from crossfade.harness.mcp import LEGACY, MODERN, answering_event, initialize_params, request_meta
from crossfade.harness.problems import BlockFailed

_INFO = {"name": "crossfade-probe", "version": "1"}
_META = request_meta(_INFO)


class Probe:
    """One keep-alive connection to an MCP endpoint. Legacy initializes on first use."""

    def __init__(
        self,
        port: int,
        *,
        host: str = "127.0.0.1",
        path: str = "/mcp",
        era: Literal["modern", "legacy"] = "modern",
        timeout_s: float = 10.0,
    ) -> None:
        self.era = era
        self.path = path
        self._where = f"http://{host}:{port}{path}"
        self._connection = http.client.HTTPConnection(host, port, timeout=timeout_s)
        self._session: str | None = None
        self._initialized = era == "modern"
        self._next = 0

    def request(self, method: str, params: dict[str, Any] | None = None) -> dict[str, Any]:
        """The whole JSON-RPC answer: ``result`` or ``error``, an object. Raises BlockFailed if there is none."""
        if not self._initialized:
            self.initialize()
        return self._post(method, params or {})

    def call(self, tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """The JSON-RPC answer to ``tools/call``."""
        return self.request("tools/call", {"name": tool, "arguments": arguments})

    def initialize(self) -> None:
        """Begin a legacy session now; if it is refused, so is what follows."""
        self._initialized = True
        self._post("initialize", initialize_params(_INFO))
        self._send({"jsonrpc": "2.0", "method": "notifications/initialized"}, "notifications/initialized", None)

    def _post(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        self._next += 1
        if self.era == "modern":
            params = {**params, "_meta": {**_META, **params.get("_meta", {})}}
        body = {"jsonrpc": "2.0", "id": self._next, "method": method, "params": params}
        answer = self._send(body, method, params.get("name") or params.get("uri"))
        if answer is None or answer.get("id") != self._next:
            raise BlockFailed(f"{method}: no answer with id {self._next}, got {str(answer)[:200]}")
        if not isinstance(answer.get("error" if "error" in answer else "result"), dict):
            said = msgspec.json.encode(answer).decode()[:200]
            raise BlockFailed(
                f"{method}: {self._where} answers {said}, and neither result nor error is an object; see what it logs"
            )
        return answer

    def _send(self, body: dict[str, Any], method: str, name: str | None) -> dict[str, Any] | None:
        headers = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
        if self.era == "modern":
            headers |= {"MCP-Protocol-Version": MODERN, "Mcp-Method": method}
            if name is not None:
                headers["Mcp-Name"] = name
        elif method != "initialize":
            headers["MCP-Protocol-Version"] = LEGACY[0]
        if self._session is not None:
            headers["Mcp-Session-Id"] = self._session
        try:
            self._connection.request("POST", self.path, msgspec.json.encode(body), headers)
            answer = self._connection.getresponse()
            raw = answer.read()
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise BlockFailed(f"{method}: {type(error).__name__}: {error}") from error
        self._session = answer.getheader("Mcp-Session-Id") or self._session
        if not raw.strip():
            return None
        if (answer.getheader("Content-Type") or "").startswith("text/event-stream"):
            raw = answering_event(raw)
        try:
            decoded = msgspec.json.decode(raw)
        except msgspec.DecodeError:
            decoded = None
        if not isinstance(decoded, dict):
            raise BlockFailed(f"{method}: HTTP {answer.status} with no JSON-RPC object: {raw[:120]!r}")
        return decoded

    def leave(self) -> None:
        """Close the connection without a word; a session stays behind and the next request goes on in it."""
        self._connection.close()

    def close(self) -> None:
        """End the session, if there is one, and the connection."""
        if self._session is not None:
            with contextlib.suppress(OSError, http.client.HTTPException):
                self._connection.request("DELETE", self.path, headers={"Mcp-Session-Id": self._session})
                self._connection.getresponse().read()
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
