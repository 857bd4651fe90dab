"""The generator's side of the protocol: handshake, request, verdict.

The rule: every request carries an id and a nonce of its own, and every one that was sent ends in exactly one verdict.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from typing import Any

import httptools

from crossfade.harness.load_py.connection import Connection
from crossfade.harness.load_py.plan import Plan
from crossfade.harness.load_py.record import judge
from crossfade.harness.mcp import LEGACY, MODERN, initialize_params, request_meta

OPENING = 64
"""At most so many connections are being opened at once, to stay within the listener's backlog."""
_INFO = {"name": "crossfade-load", "version": "0.1.0"}
_FIRST_ID = 1_000_000_000
now_ns = time.monotonic_ns


class Client:
    """Opens connections for a plan and sends its requests on them."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.nonces = random.Random(plan.seed)  # noqa: S311 - load, not secrets
        self.next_id = _FIRST_ID
        self.filler = "x" * max(0, plan.payload_bytes - 16)

    def _head(self, size: int, *, version: str = "", method: str = "", session: str = "") -> bytes:
        plan = self.plan
        named = f"Mcp-Method: {method}\r\nMcp-Name: {plan.tool}\r\n" if method else ""
        version = f"MCP-Protocol-Version: {version}\r\n" if version else ""
        session = f"Mcp-Session-Id: {session}\r\n" if session else ""
        return (
            f"POST {plan.path} HTTP/1.1\r\nHost: {plan.host}:{plan.port}\r\nContent-Type: application/json\r\n"
            f"Accept: application/json, text/event-stream\r\n{version}{named}{session}Content-Length: {size}\r\n\r\n"
        ).encode()

    async def open(self) -> Connection:
        """A connection that can send. Raises OSError or ValueError (a refused handshake)."""
        loop = asyncio.get_running_loop()
        _, conn = await loop.create_connection(Connection, self.plan.host, self.plan.port)
        if self.plan.era == "legacy":
            params = initialize_params(_INFO)
            first = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params}).encode()
            status, _ = await conn.ask(self._head(len(first)) + first)
            if status != 200:
                raise ConnectionError(f"http_{status}")
            size = len(self._body(0, ""))
            extra = self.plan.payload_bytes + 9  # ids have ten digits where this sample has one, and text is sent
            conn.head = self._head(size + 9 + extra, version=LEGACY[0], session=conn.session)
            second = json.dumps({"jsonrpc": "2.0", "method": "notifications/initialized"}).encode()
            await conn.ask(self._head(len(second), version=LEGACY[0], session=conn.session) + second)
        return conn

    def _body(self, ident: int, text: str) -> bytes:
        params: dict[str, Any] = {
            "name": self.plan.tool,
            "arguments": {**self.plan.arguments, "text": text, "n": ident},
        }
        if self.plan.era == "modern":
            params = {"_meta": request_meta(_INFO), **params}
        message = {"jsonrpc": "2.0", "id": ident, "method": "tools/call", "params": params}
        return json.dumps(message, separators=(",", ":")).encode()

    async def request(self, conn: Connection) -> tuple[int, str | None]:
        """Send one request and judge its answer: when it was sent, and the kind of error."""
        ident, self.next_id = self.next_id, self.next_id + 1
        text = (f"{self.nonces.getrandbits(64):016x}" + self.filler)[: self.plan.payload_bytes]
        body = self._body(ident, text)
        head = conn.head or self._head(len(body), version=MODERN, method="tools/call")
        every = self.plan.check_every
        check = every > 0 and (ident - _FIRST_ID) % every == 0
        sent = now_ns()
        try:
            # wait_for would cost a task; a timer that fails the future does not.
            answer = conn.ask(head + body)
            timer = asyncio.get_running_loop().call_later(self.plan.timeout_s, conn.fail, TimeoutError())
            try:
                status, found = await answer
            finally:
                timer.cancel()
        except TimeoutError:
            return sent, "timeout"
        except OSError:
            return sent, "reset"
        except httptools.HttpParserError:
            return sent, "garbage"
        return sent, judge(status, found, ident, text if check else None)

    async def settle(self, count: int) -> list[Connection]:
        """Open ``count`` connections. Raises RuntimeError if they do not come up in time."""
        deadline = now_ns() + int(self.plan.connect_timeout_s * 1e9)
        gate = asyncio.Semaphore(OPENING)

        async def one() -> Connection:
            async with gate:
                while True:
                    try:
                        async with asyncio.timeout(max(0.001, (deadline - now_ns()) / 1e9)):
                            return await self.open()
                    except (OSError, TimeoutError) as error:
                        if now_ns() >= deadline:
                            raise RuntimeError(
                                f"not all of {count} connections to {self.plan.host}:{self.plan.port}{self.plan.path} "
                                f"came up within {self.plan.connect_timeout_s:g} s ({error}); is the server running?"
                            ) from error
                        await asyncio.sleep(0.01)

        return list(await asyncio.gather(*(one() for _ in range(count))))
