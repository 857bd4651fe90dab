"""Sessions that are one client's alone: bounded, never shared between principals, and gone with whoever had them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from tests.contract.clients import serving
from tests.contract.kit import HttpServer, children_of, http_spec, stdio_spec, until
from tests.contract.talker import Answer
from tests.contract.talker_http import HttpTalker, LegacyHttpTalker, ModernHttpTalker

from crossfade.impls import BulkheadSpec, DedicatedSpec, PoolSpec

ANSWERS: dict[str, Answer] = {"roots/list": {"roots": []}}
ONE_ROUND = {"rounds": [[{"key": "a", "method": "roots/list"}]]}
TALKERS: list[type[HttpTalker]] = [ModernHttpTalker, LegacyHttpTalker]
BY_ERA = pytest.mark.parametrize("talker", TALKERS, ids=["modern", "legacy"])
Fixtures = Callable[..., HttpServer]


@BY_ERA
async def test_an_answer_does_not_wait_for_the_connections_that_wait_for_it(
    variant: str, shared_http: Fixtures, talker: type[HttpTalker]
) -> None:
    """The only connection carries the call that asks; the client's answer must reach the server all the same."""
    async with (
        serving(variant, http_spec(shared_http(era="legacy"), pool=PoolSpec(max_connections=1))) as served,
        talker(served.gateway, ANSWERS) as client,
        asyncio.timeout(10),
    ):
        assert await client.json("gather", **ONE_ROUND) == [{"a": {"roots": []}}]


async def test_more_clients_than_seats_are_served_one_after_the_other(variant: str) -> None:
    before = set(children_of())
    spec = stdio_spec(dedicated=DedicatedSpec(max=1))
    async with (
        serving(variant, spec) as served,
        ModernHttpTalker(served.gateway, ANSWERS) as one,
        ModernHttpTalker(served.gateway, ANSWERS) as other,
    ):
        answers = await asyncio.gather(*(client.json("gather", **ONE_ROUND) for client in (one, other)))
        assert answers == [[{"a": {"roots": []}}]] * 2
        assert len(set(children_of()) - before) <= 2, "one that all share, and one seat"


async def test_who_waits_too_long_for_a_seat_is_told_which_key_to_raise(variant: str) -> None:
    spec = stdio_spec(dedicated=DedicatedSpec(max=1), pool=PoolSpec(acquire_timeout_ms=1500))
    async with (
        serving(variant, spec) as served,
        LegacyHttpTalker(served.gateway, ANSWERS) as holder,
        LegacyHttpTalker(served.gateway, ANSWERS) as other,
    ):
        assert await holder.text("echo", text="mine") == "mine"
        error = await other.error("tools/call", {"name": "fix__echo", "arguments": {"text": "late"}})
        assert error["data"]["code"] == "pool_timeout"
        assert "dedicated.max" in error["message"]


async def test_principals_never_sit_in_the_same_seat(variant: str) -> None:
    async with serving(variant, stdio_spec()) as served:
        seen: dict[str, set[int]] = {}
        for caller in ("alice", "bob", "alice"):
            async with ModernHttpTalker(served.gateway, ANSWERS, None, caller) as client:
                seen.setdefault(caller, set()).add((await client.json("process"))["pid"])
        assert seen["alice"].isdisjoint(seen["bob"])
        assert len(seen["alice"]) == 1, "the same principal finds its seat again"


async def test_a_seat_that_nobody_wants_is_ended(variant: str) -> None:
    before = set(children_of())
    async with serving(variant, stdio_spec(dedicated=DedicatedSpec(idle_ms=50))) as served:
        async with ModernHttpTalker(served.gateway, ANSWERS) as client:
            pid = (await client.json("process"))["pid"]
            await until(lambda: pid not in children_of(), what="the end of the idle child")
        await served.manager.call_tool("fix__echo", {"text": "shared"})
        assert len(set(children_of()) - before) == 1


async def test_a_child_of_ones_own_goes_with_the_session_the_server_and_the_manager(variant: str) -> None:
    async with serving(variant, stdio_spec()) as served:
        async with LegacyHttpTalker(served.gateway, ANSWERS) as client:
            pid = (await client.json("process"))["pid"]
            await served.manager.unregister("fix")
            assert pid not in children_of()
        await served.manager.register(stdio_spec())
        async with LegacyHttpTalker(served.gateway, ANSWERS) as client:
            last = (await client.json("process"))["pid"]
    assert last not in children_of()


async def test_a_suspended_call_keeps_its_place_in_the_bulkhead(variant: str, shared_http: Fixtures) -> None:
    """The server still works on it, whatever the client does."""
    spec = http_spec(shared_http(era="legacy"), bulkhead=BulkheadSpec(max_in_flight=1, max_queue=0))
    async with (
        serving(variant, spec, input_timeout_ms=300) as served,
        ModernHttpTalker(served.gateway, {"roots/list": None}) as client,
        ModernHttpTalker(served.gateway) as other,
    ):
        pending = await client.start("tools/call", {"name": "fix__gather", "arguments": ONE_ROUND})
        assert (await pending.answer())["result"]["resultType"] == "input_required"
        error = await other.error("tools/call", {"name": "fix__echo", "arguments": {}})
        assert error["data"]["code"] == "bulkhead_full"
        async with asyncio.timeout(10):  # the round's time is over: the place is free again
            while "error" in await other.ask("tools/call", {"name": "fix__echo", "arguments": {}}):
                pass
