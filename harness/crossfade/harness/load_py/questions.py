"""What the Python generator asks: which request comes next, and its bytes.

The rule: every request carries an id and a nonce of its own. Which method and which tool it is comes from a stream of
draws of its own, so that neither nonces nor arrivals move when a plan mixes.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from typing import Any

from crossfade.harness.load_py.plan import Plan
from crossfade.harness.mcp import LEGACY, MODERN, initialize_params, request_meta

INFO = {"name": "crossfade-load", "version": "0.1.0"}
FIRST_ID = 1_000_000_000
_METHODS = {"list": "tools/list", "call": "tools/call", "read": "resources/read"}


@dataclass(frozen=True)
class Question:
    """A request and what its answer has to be; ``text`` is None if it is not compared."""

    method: str
    ident: int
    text: str | None
    name: str | None
    body: bytes


class Questions:
    """Draws the requests of a plan."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.nonces = random.Random(plan.seed)  # noqa: S311 - load, not secrets
        self.draws = random.Random(plan.seed ^ 0x5A5AA5A5)  # noqa: S311 - load, not secrets
        self.next_id = FIRST_ID
        self.filler = "x" * max(0, plan.payload_bytes - 16)
        self.mix = plan.mix or {"call": 1}

    def draw(self) -> Question:
        """The next request."""
        plan, ident = self.plan, self.next_id
        self.next_id += 1
        nonce = f"{self.nonces.getrandbits(64):016x}"
        method = self.draws.choices(list(self.mix), list(self.mix.values()))[0] if plan.mix else "call"
        params: dict[str, Any] = {"_meta": request_meta(INFO)} if plan.era == "modern" else {}
        text, name = nonce, None
        if method == "call":
            name = self.draws.choice(plan.tools) if len(plan.tools) > 1 else plan.tools[0]
            text = (nonce + self.filler)[: plan.payload_bytes]
            events = {"events": plan.events} if plan.events else {}
            if plan.events:
                params["_meta"] = {**params.get("_meta", {}), "progressToken": ident}
            params |= {"name": name, "arguments": {**plan.arguments, **events, "text": text, "n": ident}}
        elif method == "read":
            name = params["uri"] = plan.uri.replace("{text}", nonce)
        message = {"jsonrpc": "2.0", "id": ident, "method": _METHODS[method], "params": params}
        every = plan.check_every
        check = every > 0 and (ident - FIRST_ID) % every == 0
        body = json.dumps(message, separators=(",", ":")).encode()
        return Question(method, ident, text if check else None, name, body)

    def modern(self, question: Question, host: str) -> bytes:
        """The whole of a modern request."""
        named = f"Mcp-Name: {question.name}\r\n" if question.name else ""
        head = f"MCP-Protocol-Version: {MODERN}\r\nMcp-Method: {_METHODS[question.method]}\r\n{named}"
        return self.post(host, head, question.body)

    def legacy(self, session: str, body: bytes, host: str) -> bytes:
        """The whole of a message in a session."""
        return self.post(host, f"MCP-Protocol-Version: {LEGACY[0]}\r\nMcp-Session-Id: {session}\r\n", body)

    def initialize(self, host: str) -> bytes:
        """The first request of a legacy connection."""
        params = initialize_params(INFO)
        message = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params}
        return self.post(host, "", json.dumps(message).encode())

    def post(self, host: str, more: str, body: bytes, method: str = "POST") -> bytes:
        """A request with the headers that all have."""
        head = f"{method} {self.plan.path} HTTP/1.1\r\nHost: {host}\r\n"
        kinds = "Content-Type: application/json\r\nAccept: application/json, text/event-stream\r\n"
        return f"{head}{kinds}{more}Content-Length: {len(body)}\r\n\r\n".encode() + body


def notification(method: str, **params: Any) -> bytes:
    """A message that is not answered."""
    return json.dumps({"jsonrpc": "2.0", "method": f"notifications/{method}", "params": params}).encode()
