"""A seat in a session of one's own is given back, at whichever await its taker is cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from time import monotonic_ns

import pytest
from tests.contract.kit import HttpServer, http_spec, manager_of

from crossfade.impls import DedicatedSpec, RetrySpec
from crossfade.impls.python.dedicated import hello
from crossfade.impls.python.manager import PythonManager
from crossfade.impls.python.seating import request
from crossfade.impls.python.seats import Wish

from .stepping import CancelAt


@pytest.fixture
def legacy() -> Iterator[HttpServer]:
    server = HttpServer(era="legacy")
    yield server
    server.stop()


async def test_cancelled_at_every_await_a_seat_is_given_back(legacy: HttpServer) -> None:
    spec = http_spec(legacy, dedicated=DedicatedSpec(max=1), retry=RetrySpec(attempts=1))
    async with manager_of("python", spec) as manager:
        assert isinstance(manager, PythonManager)
        instance = manager.registry["fix"].instances[0]
        await instance.ready()
        wish = Wish("somebody", hello({"roots": {}}), None)
        server = manager.registry["fix"]

        async def call() -> bytes:
            from crossfade.impls.python.ask import Ask, Ticket
            from crossfade.impls.python.gateway.voices import ClientVoice

            voice = ClientVoice(_Deaf())
            voice.wish = wish
            fields = {"name": "echo", "arguments": {"text": "seated"}}
            ticket = Ticket(monotonic_ns() + 5_000_000_000)
            ask = Ask(
                "tools/call", fields, meta=None, name="echo", sessions=None, extra=(), key=0, ticket=ticket, voice=voice
            )
            now = monotonic_ns()
            assert server.choose(now) is instance
            return await request(instance, ask, b'{"name":"echo","arguments":{"text":"seated"}}', voice, now)

        for k in range(50):
            cancelled = CancelAt(call(), k)
            await asyncio.create_task(_run(cancelled))
            async with asyncio.timeout(5):
                assert b"seated" in await call(), f"after a cancellation at suspension {k}"
            if not cancelled.reached:
                break
        assert k > 0


async def _run(work: CancelAt) -> None:
    await work


class _Deaf:
    """A Speaker whom nobody hears."""

    def say(self, message: bytes, *, needed: bool = False) -> None:
        """Dropped."""
