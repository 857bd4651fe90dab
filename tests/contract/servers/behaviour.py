"""What the fixture server does, whatever carries it: its era rules, and which part answers which method.

Rule: it is strict about what it receives (era, order of the handshake, required ``_meta``) and free in what it does
wrong on demand.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from tests.contract.servers.audience import Audience
from tests.contract.servers.base import LEGACY, LEVELS, META, MODERN, Call, Log, Message, Outcome, RpcError
from tests.contract.servers.lists import LISTS, tools
from tests.contract.servers.talking import gather
from tests.contract.servers.tools import TOOLS

CAPABILITIES: Message = {
    "tools": {"listChanged": True},
    "resources": {"subscribe": True, "listChanged": True},
    "prompts": {"listChanged": True},
    "completions": {},
    "logging": {},
    "experimental": {"x-fixture": {"kept": True}},
}


class Behaviour:
    """The server itself. ``handle`` answers one request with a result, raises :class:`RpcError`, or misbehaves."""

    def __init__(
        self, *, era: str, name: str = "fixture", log: Log | None = None, fail: int = 0, delay_ms: int = 0
    ) -> None:
        self.era, self.name, self.log = era, name, log or Log()
        self.fail, self.delay_ms = fail, delay_ms
        self.forget_sessions: Callable[[], None] = lambda: None
        self.hints: Message = {"ttlMs": 0, "cacheScope": "private"}
        self.reads = 0
        self.audience = Audience()
        self.released: set[str] = set()
        self.grown: list[str] = []

    def is_modern(self, message: Message) -> bool:
        """Whether the message claims the modern era; raises if this server does not serve its era."""
        meta = (message.get("params") or {}).get("_meta") or {}
        claims = META + "protocolVersion" in meta
        if claims and self.era == "legacy":
            raise RpcError(-32601, f"Method not found: {message['method']}")
        if not claims and self.era == "modern":
            raise RpcError(-32602, f"_meta lacks {META}protocolVersion")
        if claims:
            if meta[META + "protocolVersion"] != MODERN:
                data = {"supported": [MODERN], "requested": meta[META + "protocolVersion"]}
                raise RpcError(-32022, "Unsupported protocol version", data)
            if not isinstance(meta.get(META + "clientCapabilities"), dict):
                raise RpcError(-32602, f"_meta lacks {META}clientCapabilities")
            if meta.get(META + "logLevel", LEVELS[0]) not in LEVELS:
                raise RpcError(-32602, f"Unknown log level: {meta[META + 'logLevel']}")
        return claims

    def handle(self, method: str, call: Call) -> Outcome:
        """The ``result``, what to send instead of it, or None for no answer at all."""
        if method == "server/discover" and call.modern:
            info = {META + "serverInfo": self._info()}
            return self._dress(
                {"supportedVersions": [MODERN], "capabilities": CAPABILITIES, "_meta": info}, listed=True
            )
        if not call.modern and (own := self._of_session(method, call)) is not None:
            return own
        if (self.fail or self.delay_ms) and self._spoiled(call):
            return None
        if method == "tools/call":
            return self._tool(call)
        if method == "tools/list":
            result: Message | None = tools([*TOOLS, *self.grown], call.params)
        elif method in LISTS:
            result = self._get(method, call)
        else:
            raise RpcError(-32601, f"Method not found: {method}")
        hinted = result is not None and ("ttlMs" in result or "requestState" in result)
        listed = method.endswith("list") or (method == "resources/read" and not hinted)
        return result if not call.modern or result is None else self._dress(result, listed=listed)

    def _of_session(self, method: str, call: Call) -> Message | None:
        """What exists in the legacy era only: the handshake, and what a session remembers."""
        if method == "initialize":
            asked = call.params.get("protocolVersion")
            call.peer.introduce(call.params)
            version = asked if asked in LEGACY else LEGACY[-1]
            return {"protocolVersion": version, "capabilities": CAPABILITIES, "serverInfo": self._info()}
        if method == "logging/setLevel":
            if call.params.get("level") not in LEVELS:
                raise RpcError(-32602, f"Unknown log level: {call.params.get('level')}")
            call.peer.level = call.params["level"]
        elif method == "resources/subscribe":
            call.peer.uris.add(call.params["uri"])
        elif method == "resources/unsubscribe":
            call.peer.uris.discard(call.params["uri"])
        elif method != "ping":
            return None
        return {}

    def _tool(self, call: Call) -> Outcome:
        if os.environ.get("FIXTURE_FAULT") == "internal":
            raise RpcError(-32603, "told to fail by FIXTURE_FAULT")
        name = call.params.get("name", "")
        tool = TOOLS.get("echo" if name in self.grown else name)
        if tool is None:
            raise RpcError(-32602, f"Unknown tool: {name}")
        if not isinstance(call.params.get("arguments") or {}, dict):
            raise RpcError(-32602, "arguments must be an object")
        result = tool(self, call.params.get("arguments") or {}, call)
        return self._dress(result) if call.modern and isinstance(result, dict) else result

    def _get(self, method: str, call: Call) -> Message | None:
        """A list, a resource, a prompt; ``fixture://asking/METHOD`` and the prompt ``asking`` ask first."""
        uri, name = str(call.params.get("uri")), call.params.get("name")
        if method == "resources/read" and uri.startswith("fixture://kept/"):
            return self._kept(call)
        if method == "resources/read" and uri.startswith("fixture://asking/"):
            asked = self._asked(uri.removeprefix("fixture://asking/"), call)
            return asked if "content" not in asked else {"contents": [{"uri": uri, **asked["content"][0]}]}
        if method == "prompts/get" and name == "asking":
            asked = self._asked((call.params.get("arguments") or {})["method"], call)
            said = asked.get("content", [None])[0]
            return asked if said is None else {"messages": [{"role": "user", "content": said}]}
        return LISTS[method](call.params)

    def _asked(self, method: str, call: Call) -> Message:
        return gather(self, {"rounds": [[{"key": "one", "method": method}]]}, call)

    def _spoiled(self, call: Call) -> bool:
        """Whether this request gets no answer: the first ``fail`` do not, and the others after ``delay_ms``."""
        if self.fail:
            self.fail -= 1
            self.log.add("failed", id=call.id)
            return True
        if call.wait(self.delay_ms / 1000):
            self.log.add("stopped", id=call.id)
            return True
        return False

    def _info(self) -> Message:
        return {"name": self.name, "version": "1.2.3"}

    def _kept(self, call: Call) -> Message | None:
        """``fixture://kept/TTL/SCOPE/MS[/...]``: fresh for TTL ms in SCOPE, after MS ms; each answer is another one.

        SCOPE ``round`` is the first of several rounds, and ``error`` fails.
        """
        uri = call.params["uri"]
        ttl, scope, wait_ms = uri.removeprefix("fixture://kept/").split("/")[:3]
        self.reads += 1
        number = self.reads
        if wait_ms != "0" and call.wait(int(wait_ms) / 1000):
            self.log.add("stopped", id=call.id)
            return None
        if scope == "error":
            raise RpcError(-32050, f"error {number}")
        hints = {"ttlMs": int(ttl), "cacheScope": scope} if call.modern else {}
        if scope == "round":
            return {"resultType": "input_required", "inputRequests": {}, "requestState": f"state {number}", **hints}
        contents = [{"uri": uri, "text": f"answer {number}", "x-kept": 12345678901234567890123}]
        return {**({"resultType": "complete"} if call.modern else {}), **hints, "contents": contents}

    def _dress(self, result: Message, *, listed: bool = False) -> Message:
        return {"resultType": "complete", **result, **(self.hints if listed else {})}
