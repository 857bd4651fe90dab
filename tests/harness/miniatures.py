"""Deliberately bad gateways, each with one flaw, and an honest twin: what the ruler has to convict, and to acquit.

``python -m tests.harness.miniatures FLAW PORT UPSTREAM`` relays HTTP to the fleet and is measured like any gateway of a
user's: ``--command bad='... {port} {upstream}'``. Two of the nine, ``slow`` and ``tail``, and the twin are
``crossfade.harness.planted``, for the product plants them itself (``crossfade selftest --power``).
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from collections.abc import Callable

from crossfade.harness.planted.flaws import FLAWS as PLANTED
from crossfade.harness.planted.flaws import Tail
from crossfade.harness.planted.relay import Client, Relay, serve


class Wrong(Relay):
    """Another text to every 200th call."""

    def answered(self, request: bytes, answer: bytes, client: Client) -> None:
        self.calls += 1
        if self.calls % 200 == 0:
            start = answer.rindex(b'"text":"') + 8
            answer = answer[:start] + b"?" + answer[start + 1 :]
        client.write(answer)


class Caches(Relay):
    """Whatever has the same length is answered from memory, under the id that was asked with."""

    ID = re.compile(rb'("id": ?)(\d+)')

    def __init__(self, upstream: str) -> None:
        super().__init__(upstream)
        self.cache: dict[int, bytes] = {}

    def asked(self, request: bytes, client: Client) -> bytes | None:
        self.calls += 1
        cached = self.cache.get(len(request)) if self.calls > 50 else None
        if cached is None or (found := self.ID.search(request)) is None:
            return None
        # A cache that knows its protocol: only what was asked tells that this is the answer to something else.
        ident = found[2]
        return self.ID.sub(lambda old: old[1] + ident, cached, count=1)

    def answered(self, request: bytes, answer: bytes, client: Client) -> None:
        self.cache[len(request)] = answer
        client.write(answer)


class Drops(Relay):
    """The connection is closed instead of answering, one call in a thousand."""

    def answered(self, request: bytes, answer: bytes, client: Client) -> None:
        self.calls += 1
        if self.calls % 1000 == 0:
            client.close()
        else:
            client.write(answer)


class Malformed(Relay):
    """Answers each call itself: with its id, and no result."""

    def asked(self, request: bytes, client: Client) -> bytes | None:
        ident = json.loads(request.partition(b"\r\n\r\n")[2])["id"]
        body = json.dumps({"jsonrpc": "2.0", "id": ident, "result": None}).encode()
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        return head.encode() + body


class Crashes(Relay):
    """Ends in the middle of its 500th call."""

    def asked(self, request: bytes, client: Client) -> bytes | None:
        self.calls += 1
        if self.calls == 500:
            os._exit(3)
        return None


class Hangs(Relay):
    """Never answers again after its 500th call."""

    def answered(self, request: bytes, answer: bytes, client: Client) -> None:
        self.calls += 1
        if self.calls < 500:
            client.write(answer)


class LeaksPerCall(Relay):
    """Keeps 1 KiB of every call."""

    def __init__(self, upstream: str) -> None:
        super().__init__(upstream)
        self.kept: list[bytes] = []

    def answered(self, request: bytes, answer: bytes, client: Client) -> None:
        # Not a literal times 1024, which the compiler folds into one object for all calls.
        self.kept.append(bytes([1]) * 1024)
        client.write(answer)


class LeaksPerConnection(Relay):
    """Keeps 64 KiB of every connection."""

    def __init__(self, upstream: str) -> None:
        super().__init__(upstream)
        self.kept: list[bytes] = []

    def connected(self, client: Client) -> None:
        self.kept.append(b"\x01" * 65_536)


FLAWS: dict[str, Callable[[str], Relay]] = {
    "none": Relay,
    "wrong": Wrong,
    "slow": PLANTED["slow"],
    "tail": Tail,
    "leaks-per-call": LeaksPerCall,
    "leaks-per-connection": LeaksPerConnection,
    "drops": Drops,
    "crashes": Crashes,
    "hangs": Hangs,
    "caches": Caches,
    "malformed": Malformed,
    "dies-at-start": Relay,
    "deaf": Relay,
}


async def run(flaw: str, port: int, upstream: str) -> None:
    """Listen until ended."""
    if flaw == "dies-at-start":
        raise RuntimeError("no configuration for today")
    if flaw == "deaf":
        await asyncio.Event().wait()
    await serve(FLAWS[flaw](upstream), port)


if __name__ == "__main__":
    asyncio.run(run(sys.argv[1], int(sys.argv[2]), sys.argv[3]))
