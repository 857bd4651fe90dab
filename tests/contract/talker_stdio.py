"""Talkers over stdio: the gateway is a process of its own, and one client sits on its pipes."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
from tests.contract.talker import Answer, Message, Pending, Talker

from crossfade.impls import Config

SERVE = """
import asyncio, os, sys, msgspec
from crossfade.impls import Config, open_manager
async def main():
    os.set_inheritable(up := int(sys.argv[3]), False)
    async with open_manager(msgspec.json.decode(sys.argv[2], type=Config), sys.argv[1]) as manager:
        os.write(up, b".")
        os.close(up)
        await manager.serve_stdio()
asyncio.run(main())
"""


@asynccontextmanager
async def piped(variant: str, config: Config) -> AsyncIterator[asyncio.subprocess.Process]:
    """A gateway on pipes, once it is up; it has to end by itself when its client has closed stdin.

    How long a variant takes to import is no part of what a talker waits for.
    """
    up, told = os.pipe()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", SERVE, variant, msgspec.json.encode(config).decode(), str(told)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=1 << 24,
        pass_fds=(told,),
    )
    os.close(told)
    try:
        assert await asyncio.to_thread(os.read, up, 1), "it ended before it was up; its error is above"
        yield process
    finally:
        os.close(up)
        assert process.stdin is not None
        process.stdin.close()
        try:
            async with asyncio.timeout(10):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
            pytest.fail("serve_stdio went on after its client had closed stdin")
    assert process.returncode == 0


class StdioTalker(Talker):
    """Both eras; the handshake is done on entering if it is the legacy one."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        era: str,
        answers: dict[str, Answer] | None = None,
        capabilities: Message | None = None,
    ) -> None:
        super().__init__(answers, capabilities)
        self.process, self.era = process, era

    async def __aenter__(self) -> StdioTalker:
        self.task(self._read())
        if self.era == "legacy":
            await self.result("initialize", self.hello("2025-11-25"))
            await self.notify("notifications/initialized")
        return self

    async def _read(self) -> None:
        assert self.process.stdout is not None
        while line := await self.process.stdout.readline():
            message: Any = json.loads(line)
            await self.receive(message, self._owner(message))

    def _owner(self, message: Message) -> Pending | None:
        """Whose progress it is; other messages say on one pipe to nobody whose they are."""
        token = (message.get("params") or {}).get("progressToken")
        return self._pending.get(token) if isinstance(token, int | str) else None

    async def transmit(self, message: Message, pending: Pending) -> None:
        del pending
        await self.tell(message)

    async def tell(self, message: Message) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(message).encode() + b"\n")
        await self.process.stdin.drain()
