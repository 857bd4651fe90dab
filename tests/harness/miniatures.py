"""Deliberately bad gateways, each with one flaw, and an honest twin: what the ruler has to convict, and to acquit.

``python -m tests.harness.miniatures FLAW PORT UPSTREAM`` relays HTTP to the fleet, one upstream connection for each
client's, and is measured like any gateway of a user's: ``--command bad='... {port} {upstream}'``.
"""

from __future__ import annotations

import asyncio
import sys
from typing import TypeAlias
from urllib.parse import urlsplit

FLAWS = {
    "none": "the identical twin",
    "wrong": "answers another text to every 200th call",
    "slow": "is five per cent slower, by turning in a circle",
    "tail": "is slow for two calls in a hundred, and for no other",
    "leaks-per-call": "keeps 1 KiB of every call",
    "leaks-per-connection": "keeps 64 KiB of every connection",
    "drops": "closes the connection instead of answering, 20 calls in a thousand",
    "crashes": "ends in the middle of its 500th call",
    "hangs": "never answers again after its 500th call",
    "caches": "answers from memory whatever has the same length",
    "dies-at-start": "raises before it listens",
    "deaf": "starts and never listens",
}
Reader: TypeAlias = asyncio.StreamReader
Writer: TypeAlias = asyncio.StreamWriter


class Miniature:
    """The relay and its flaw. Everything is kept simple enough to be seen right."""

    def __init__(self, flaw: str, upstream: str) -> None:
        self.flaw = flaw
        parts = urlsplit(upstream)
        self.host, self.port = parts.hostname or "127.0.0.1", parts.port or 80
        self.calls = 0
        self.kept: list[bytes] = []
        self.cache: dict[int, bytes] = {}

    async def client(self, reader: Reader, writer: Writer) -> None:
        """One connection, request by request."""
        upstream_reader, upstream_writer = await asyncio.open_connection(self.host, self.port)
        if self.flaw == "leaks-per-connection":
            self.kept.append(b"\x01" * 65_536)
        try:
            while True:
                request = await message(reader)
                answer = await self.answer(request, upstream_reader, upstream_writer)
                if answer is None:
                    return
                writer.write(answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            upstream_writer.close()
            writer.close()

    async def answer(self, request: bytes, reader: Reader, writer: Writer) -> bytes | None:
        """What the client gets; None closes its connection."""
        if b'"tools/call"' not in request:
            writer.write(request)
            return await message(reader)
        self.calls += 1
        if self.calls == 500 and self.flaw == "crashes":
            raise SystemExit(3)
        if self.calls >= 500 and self.flaw == "hangs":
            await asyncio.Event().wait()
        if self.calls % 50 == 0 and self.flaw == "drops":
            return None
        if self.flaw == "caches" and self.calls > 50 and len(request) in self.cache:
            return self.cache[len(request)]
        if self.flaw == "leaks-per-call":
            self.kept.append(b"\x01" * 1024)
        if self.flaw == "tail" and self.calls % 50 == 0:
            await asyncio.sleep(0.02)
        if self.flaw == "slow":
            sum(range(400))
        writer.write(request)
        answer = await message(reader)
        if self.flaw == "caches":
            self.cache[len(request)] = answer
        if self.flaw == "wrong" and self.calls % 200 == 0:
            start = answer.rindex(b'"text":"') + 8
            return answer[:start] + b"?" + answer[start + 1 :]
        return answer


async def message(reader: Reader) -> bytes:
    """Head and body of a request or an answer, both framed by their length."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = 0
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            length = int(line[15:])
    return head + await reader.readexactly(length)


async def serve(flaw: str, port: int, upstream: str) -> None:
    """Listen until ended."""
    if flaw == "dies-at-start":
        raise RuntimeError("no configuration for today")
    if flaw == "deaf":
        await asyncio.Event().wait()
    server = await asyncio.start_server(Miniature(flaw, upstream).client, "127.0.0.1", port, limit=1 << 20)
    print("listening", flush=True)  # noqa: T201 - for whoever starts it by hand and waits
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], int(sys.argv[2]), sys.argv[3]))
