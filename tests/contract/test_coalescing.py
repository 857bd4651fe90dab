"""The same question at once is asked once, whoever gives up; and both, kept and shared answers, at the gateway."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from tests.contract.clients import modern_meta, serving
from tests.contract.keeping import HOUR, asked, kept, modern, number
from tests.contract.kit import HttpServer, http_spec, manager_of, until

from crossfade.impls import CacheSpec, ServerSpec
from crossfade.impls.errors import RemoteError, ServerTimeout


async def test_the_same_question_at_once_is_asked_once(variant: str, modern_spec: ServerSpec) -> None:
    async with manager_of(variant, modern_spec) as manager:
        assert await asyncio.gather(*(number(manager, kept(0, ms=300)) for _ in range(5))) == [1] * 5
        counts = manager.metrics().servers["fix"]
        assert (counts["requests"], counts["cache_misses"], counts["coalesced"]) == (1, 1, 4)
        assert await number(manager, kept(0, ms=300)) == 2, "what may not be kept was kept"


async def test_principals_and_questions_that_differ_do_not_share_an_answer(variant: str) -> None:
    async with manager_of(variant, modern()) as manager:
        uris = [kept(0, ms=200), kept(0, ms=200, more="/b")]
        asking = [number(manager, uri, principal=who) for uri in uris for who in ("ada", "bob")]
        assert sorted(await asyncio.gather(*asking)) == [1, 2, 3, 4]


async def test_a_caller_that_gives_up_takes_nobody_along(variant: str, modern_spec: ServerSpec) -> None:
    async with manager_of(variant, modern_spec) as manager:
        callers = [asyncio.create_task(number(manager, kept(0, ms=500))) for _ in range(3)]
        await asked(manager, "resources/read")
        callers[0].cancel()
        callers[2].cancel()
        assert await callers[1] == 1
        for caller in (callers[0], callers[2]):
            with pytest.raises(asyncio.CancelledError):
                await caller
        assert manager.metrics().in_flight == 0


async def test_the_last_one_that_gives_up_takes_the_request(variant: str, modern_spec: ServerSpec) -> None:
    async with manager_of(variant, modern_spec) as manager:
        callers = [asyncio.create_task(number(manager, kept(0, ms=60_000))) for _ in range(3)]
        await asked(manager, "resources/read")
        for caller in callers:
            caller.cancel()
        await asyncio.wait(callers)
        stopped = await manager.call_tool("fix__seen", {"method": "stopped", "wait_ms": 5000})
        assert "stopped" in stopped.text, "the server works on for nobody"
        await until(lambda: manager.metrics().in_flight == 0, what="the end of the request")
        assert await number(manager, kept(0, ms=0)) == 2


async def test_an_error_goes_to_all_and_is_not_kept(variant: str, modern_spec: ServerSpec) -> None:
    async with manager_of(variant, modern_spec) as manager:
        uri = kept(scope="error", ms=200)
        asking = [manager.read_resource(uri) for _ in range(3)]
        errors = await asyncio.gather(*asking, return_exceptions=True)
        assert {(type(error), str(error)) for error in errors} == {(RemoteError, "error 1")}
        with pytest.raises(RemoteError, match="error 2"):
            await manager.read_resource(uri)


async def test_a_joined_caller_keeps_its_own_deadline(variant: str) -> None:
    async with manager_of(variant, modern()) as manager:
        patient = asyncio.create_task(number(manager, kept(0, ms=600)))
        await asked(manager, "resources/read")
        with pytest.raises(ServerTimeout, match="fix"):
            await number(manager, kept(0, ms=600), timeout_s=0.1)
        assert await patient == 1


async def test_nobody_joins_a_request_that_is_nearly_over(variant: str) -> None:
    async with manager_of(variant, modern()) as manager:
        hasty = asyncio.create_task(number(manager, kept(0, ms=600), timeout_s=0.3))
        await asked(manager, "resources/read")
        assert await number(manager, kept(0, ms=600), timeout_s=10) == 2
        with pytest.raises(ServerTimeout):
            await hasty


async def test_a_further_round_belongs_to_its_caller(variant: str) -> None:
    async with manager_of(variant, modern()) as manager:
        asking = (manager.read_resource(kept(scope="round", ms=100)) for _ in range(3))
        states = {answer.data["requestState"] for answer in await asyncio.gather(*asking)}
        assert len(states) == 3, "two callers got one conversation"


# -- at the gateway


@pytest.mark.parametrize("era", ["modern", "legacy"])
async def test_the_gateway_gives_kept_answers_to_clients_of_both_eras(
    variant: str, era: str, modern_spec: ServerSpec
) -> None:
    async with serving(variant, modern_spec) as served, served.client(era) as client, served.client(era) as other:
        for asker in (client, other):
            read = await asker.result("resources/read", {"uri": kept()})
            assert read["contents"][0]["text"] == "answer 1"
            assert read["contents"][0]["x-kept"] == 12345678901234567890123
        answers = (asker.result("resources/read", {"uri": kept(0, ms=300)}) for asker in (client, other))
        assert {read["contents"][0]["text"] for read in await asyncio.gather(*answers)} == {"answer 2"}
        counts = served.manager.metrics().servers["fix"]
        assert (counts["cache_hits"], counts["cache_misses"], counts["coalesced"]) == (1, 2, 1)


async def test_the_gateway_keeps_principals_apart(variant: str, modern_spec: ServerSpec) -> None:
    async with serving(variant, modern_spec) as served:
        seen: dict[str, set[str]] = {}
        for who in ("ada", "bob", "ada", "bob"):
            async with served.client("modern") as client:
                client.connection.caller = who
                read = await client.result("resources/read", {"uri": kept(scope="private")})
                seen.setdefault(who, set()).add(read["contents"][0]["text"])
        assert seen == {"ada": {"answer 1"}, "bob": {"answer 2"}}


async def test_a_read_with_a_progress_token_is_its_callers_own(variant: str, modern_spec: ServerSpec) -> None:
    async with serving(variant, modern_spec) as served, served.client("modern") as client:
        for expected in ("answer 1", "answer 2"):
            params = {"uri": kept(), "_meta": modern_meta(progressToken="p")}
            read = await client.result("resources/read", params)
            assert read["contents"][0]["text"] == expected


async def test_what_was_asked_in_a_clients_own_session_is_its_own(
    variant: str, fresh_http: Callable[..., HttpServer]
) -> None:
    spec = http_spec(fresh_http(era="legacy"), cache=CacheSpec(default_ttl_ms=HOUR))
    async with serving(variant, spec) as served, served.client("legacy") as one, served.client("legacy") as two:
        answers = [await client.result("resources/read", {"uri": kept()}) for client in (one, two)]
        assert [read["contents"][0]["text"] for read in answers] == ["answer 1", "answer 2"]


async def test_a_client_that_hangs_up_does_not_take_the_others_answer(variant: str, modern_spec: ServerSpec) -> None:
    async with serving(variant, modern_spec) as served, served.client("modern") as stays:
        async with served.client("modern") as leaves:
            await leaves.connection.send(leaves.encode("resources/read", {"uri": kept(0, ms=500)}))
            await asked(served.manager, "resources/read")
            staying = asyncio.create_task(stays.result("resources/read", {"uri": kept(0, ms=500)}))
            joined = served.manager.metrics
            await until(lambda: joined().servers["fix"]["coalesced"] == 1, what="the second client")
        assert (await staying)["contents"][0]["text"] == "answer 1"
