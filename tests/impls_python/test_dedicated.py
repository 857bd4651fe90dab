"""Sessions that are one client's alone: bounded, never shared between principals, and gone with whoever had them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from time import monotonic_ns
from typing import Any

import pytest
from tests.contract.kit import HttpServer, children_of, http_spec, manager_of, stdio_spec, until
from tests.contract.talker import Answer
from tests.contract.talker_http import HttpTalker, LegacyHttpTalker, ModernHttpTalker

from crossfade.impls import BulkheadSpec, DedicatedSpec, Gateway, PoolSpec, RetrySpec, ServerSpec
from crossfade.impls.python.dedicated import hello
from crossfade.impls.python.instance import Instance
from crossfade.impls.python.manager import PythonManager
from crossfade.impls.python.seating import request
from crossfade.impls.python.seats import Wish

from .stepping import CancelAt

ANSWERS: dict[str, Answer] = {"roots/list": {"roots": []}}
ONE_ROUND = {"rounds": [[{"key": "a", "method": "roots/list"}]]}
TALKERS: list[type[HttpTalker]] = [ModernHttpTalker, LegacyHttpTalker]
BY_ERA = pytest.mark.parametrize("talker", TALKERS, ids=["modern", "legacy"])


@pytest.fixture
def legacy() -> Iterator[HttpServer]:
    server = HttpServer(era="legacy")
    yield server
    server.stop()


@asynccontextmanager
async def serving(spec: ServerSpec, **gateway: Any) -> AsyncIterator[tuple[PythonManager, Gateway]]:
    async with manager_of("python", spec, **gateway) as manager:
        assert isinstance(manager, PythonManager)
        yield manager, await manager.serve("127.0.0.1", 0)


def instance_of(manager: PythonManager) -> Instance:
    return manager.registry["fix"].instances[0]


@BY_ERA
async def test_an_answer_does_not_wait_for_the_connections_that_wait_for_it(
    legacy: HttpServer, talker: type[HttpTalker]
) -> None:
    """The only connection carries the call that asks; the client's answer must reach the server all the same."""
    async with (
        serving(http_spec(legacy, pool=PoolSpec(max_connections=1))) as (_, gateway),
        talker(gateway, ANSWERS) as client,
        asyncio.timeout(10),
    ):
        assert await client.json("gather", **ONE_ROUND) == [{"a": {"roots": []}}]


async def test_more_clients_than_seats_are_served_one_after_the_other() -> None:
    before = set(children_of())
    spec = stdio_spec(dedicated=DedicatedSpec(max=1))
    async with (
        serving(spec) as (_, gateway),
        ModernHttpTalker(gateway, ANSWERS) as one,
        ModernHttpTalker(gateway, ANSWERS) as other,
    ):
        answers = await asyncio.gather(*(client.json("gather", **ONE_ROUND) for client in (one, other)))
        assert answers == [[{"a": {"roots": []}}]] * 2
        assert len(set(children_of()) - before) <= 2, "one that all share, and one seat"


async def test_who_waits_too_long_for_a_seat_is_told_which_key_to_raise() -> None:
    spec = stdio_spec(dedicated=DedicatedSpec(max=1), pool=PoolSpec(acquire_timeout_ms=1500))
    async with (
        serving(spec) as (_, gateway),
        LegacyHttpTalker(gateway, ANSWERS) as holder,
        LegacyHttpTalker(gateway, ANSWERS) as other,
    ):
        assert await holder.text("echo", text="mine") == "mine"
        error = await other.error("tools/call", {"name": "fix__echo", "arguments": {"text": "late"}})
        assert error["data"]["code"] == "pool_timeout"
        assert "dedicated.max" in error["message"]


async def test_principals_never_sit_in_the_same_seat() -> None:
    async with serving(stdio_spec()) as (_, gateway):
        seen: dict[str, set[int]] = {}
        for caller in ("alice", "bob", "alice"):
            async with ModernHttpTalker(gateway, ANSWERS, None, caller) as client:
                seen.setdefault(caller, set()).add((await client.json("process"))["pid"])
        assert seen["alice"].isdisjoint(seen["bob"])
        assert len(seen["alice"]) == 1, "the same principal finds its seat again"


async def test_a_seat_that_nobody_wants_is_ended() -> None:
    before = set(children_of())
    async with serving(stdio_spec(dedicated=DedicatedSpec(idle_ms=50))) as (manager, gateway):
        async with ModernHttpTalker(gateway, ANSWERS) as client:
            pid = (await client.json("process"))["pid"]
            await until(lambda: pid not in children_of(), what="the end of the idle child")
        await manager.call_tool("fix__echo", {"text": "shared"})
        assert len(set(children_of()) - before) == 1


async def test_a_child_of_ones_own_goes_with_the_session_the_server_and_the_manager() -> None:
    async with serving(stdio_spec()) as (manager, gateway):
        async with LegacyHttpTalker(gateway, ANSWERS) as client:
            pid = (await client.json("process"))["pid"]
            await manager.unregister("fix")
            assert pid not in children_of()
        await manager.register(stdio_spec())
        async with LegacyHttpTalker(gateway, ANSWERS) as client:
            last = (await client.json("process"))["pid"]
    assert last not in children_of()


async def test_a_suspended_call_keeps_its_place_in_the_bulkhead(legacy: HttpServer) -> None:
    """The server still works on it, whatever the client does."""
    spec = http_spec(legacy, bulkhead=BulkheadSpec(max_in_flight=1, max_queue=0))
    async with (
        serving(spec, input_timeout_ms=300) as (_, gateway),
        ModernHttpTalker(gateway, {"roots/list": None}) as client,
        ModernHttpTalker(gateway) as other,
    ):
        pending = await client.start("tools/call", {"name": "fix__gather", "arguments": ONE_ROUND})
        assert (await pending.answer())["result"]["resultType"] == "input_required"
        error = await other.error("tools/call", {"name": "fix__echo", "arguments": {}})
        assert error["data"]["code"] == "bulkhead_full"
        async with asyncio.timeout(10):  # the round's time is over: the place is free again
            while "error" in await other.ask("tools/call", {"name": "fix__echo", "arguments": {}}):
                pass


async def test_cancelled_at_every_await_a_seat_is_given_back(legacy: HttpServer) -> None:
    spec = http_spec(legacy, dedicated=DedicatedSpec(max=1), retry=RetrySpec(attempts=1))
    async with serving(spec) as (manager, _):
        instance = instance_of(manager)
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
