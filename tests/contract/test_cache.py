"""Answers that are given again: never stale, never to somebody else, never more than allowed, and asked for once.

The fixture answers ``fixture://kept/TTL/SCOPE/MS`` after MS ms with a number that is another one each time.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable
from typing import Any

import pytest
from tests.contract.clients import modern_meta, serving
from tests.contract.kit import HttpServer, http_spec, manager_of, stdio_spec, until

from crossfade.impls import CacheSpec, Manager, ServerSpec
from crossfade.impls.errors import RemoteError, ServerTimeout

HOUR = 3_600_000
TTL = re.compile(rb'"ttlMs": ?(\d+)')


def kept(ttl_ms: int = HOUR, scope: str = "public", ms: int = 0, more: str = "") -> str:
    return f"fixture://kept/{ttl_ms}/{scope}/{ms}{more}"


async def number(manager: Manager, uri: str, **more: Any) -> int:
    """Which of its answers the server, or the cache, gave."""
    return int((await manager.read_resource(uri, **more)).data["contents"][0]["text"].removeprefix("answer "))


async def tell(manager: Manager, what: str, **params: Any) -> None:
    await manager.call_tool("fix__tell", {"what": what, "params": params})


def modern(**more: Any) -> ServerSpec:
    return stdio_spec(era="modern", **more)


@pytest.fixture(params=["stdio", "http"])
def spec(request: pytest.FixtureRequest, fresh_http: Callable[..., HttpServer]) -> ServerSpec:
    """A modern server, over both transports."""
    return modern() if request.param == "stdio" else http_spec(fresh_http(era="modern"))


# -- kept


async def test_a_fresh_answer_is_given_again_byte_for_byte_but_for_its_age(variant: str, spec: ServerSpec) -> None:
    async with manager_of(variant, spec) as manager:
        first = (await manager.read_resource(kept())).raw
        again = (await manager.read_resource(kept())).raw
        assert b"12345678901234567890123" in again
        assert TTL.sub(b"", again) == TTL.sub(b"", first)
        before, after = (int(TTL.findall(raw)[0]) for raw in (first, again))
        assert before == HOUR
        assert HOUR - 20_000 < after < HOUR, "the age is told"
        counts = manager.metrics().servers["fix"]
        assert (counts["cache_hits"], counts["cache_misses"], counts["coalesced"]) == (1, 1, 0)
        assert counts["requests"] == 1


async def test_a_stale_answer_is_asked_for_again(variant: str) -> None:
    async with manager_of(variant, modern()) as manager:
        started = time.monotonic()
        assert await number(manager, kept(200)) == 1
        seen = 1
        while seen == 1:
            seen = await number(manager, kept(200))
        assert time.monotonic() - started >= 0.2, "it was dropped before its time"
        assert [await number(manager, kept(0)), await number(manager, kept(0))] == [3, 4]


async def test_the_longest_time_is_the_configurations(variant: str) -> None:
    async with manager_of(variant, modern(cache=CacheSpec(max_ttl_ms=1))) as manager:
        assert await number(manager, kept()) == 1
        seen = 1
        while seen == 1:
            seen = await number(manager, kept())


async def test_a_private_answer_stays_with_its_principal_and_a_public_one_does_not(variant: str) -> None:
    async with manager_of(variant, modern()) as manager:
        private = kept(scope="private")
        assert await number(manager, private, principal="ada") == 1
        assert await number(manager, private, principal="bob") == 2
        assert await number(manager, private) == 3
        assert await number(manager, private, principal="ada") == 1
        assert await number(manager, private, principal="bob") == 2
        assert await number(manager, kept(), principal="ada") == 4
        assert await number(manager, kept(), principal="bob") == 4


async def test_what_says_no_scope_that_is_known_is_private(variant: str) -> None:
    async with manager_of(variant, modern()) as manager:
        assert await number(manager, kept(scope="everybody"), principal="ada") == 1
        assert await number(manager, kept(scope="everybody"), principal="bob") == 2


async def test_lists_are_kept_until_they_change(variant: str, fresh_http: Callable[..., HttpServer]) -> None:
    server = fresh_http(era="modern")
    async with manager_of(variant, http_spec(server)) as manager:
        await manager.call_tool("fix__hint", {"ttlMs": HOUR, "cacheScope": "public"})
        first = await manager.list_tools()
        assert await manager.list_tools() == first
        assert await manager.list_tools("fix") == first
        assert len(server.log("tools/list")) == 2, "two pages, once"
        await manager.list_prompts()
        await tell(manager, "prompts/list_changed")
        await manager.list_tools()
        assert len(server.log("tools/list")) == 2, "another list has changed"
        await tell(manager, "tools/list_changed")
        assert await manager.list_tools() == first
        assert len(server.log("tools/list")) == 4
        for _ in range(2):
            await manager.list_resources()
            await manager.list_resource_templates()
        await manager.list_prompts()
        await manager.list_prompts()
        counts = [len(server.log(f"{what}/list")) for what in ("resources", "resources/templates", "prompts")]
        assert counts == [1, 1, 2]


@pytest.mark.parametrize("what", ["resources/list_changed", "resources/updated"])
async def test_a_resource_that_changed_is_read_again(variant: str, spec: ServerSpec, what: str) -> None:
    async with manager_of(variant, spec) as manager:
        assert await number(manager, kept()) == 1
        assert await number(manager, kept()) == 1
        await tell(manager, what, uri=kept())
        assert await number(manager, kept()) == 2


async def test_only_the_resource_that_was_updated_is_read_again(variant: str) -> None:
    async with manager_of(variant, modern()) as manager:
        assert [await number(manager, kept(more="/a")), await number(manager, kept(more="/b"))] == [1, 2]
        await tell(manager, "resources/updated", uri=kept(more="/a"))
        assert [await number(manager, kept(more="/b")), await number(manager, kept(more="/a"))] == [2, 3]


async def test_what_was_asked_before_a_change_is_not_kept_after_it(variant: str) -> None:
    async with manager_of(variant, modern()) as manager:
        slow = asyncio.create_task(number(manager, kept(ms=400)))
        await asked(manager, "resources/read")
        await tell(manager, "resources/list_changed")
        late = asyncio.create_task(number(manager, kept(ms=400)))
        assert await slow == 1
        assert await late == 2, "it joined a request from before the change"
        assert await number(manager, kept(ms=400)) == 2


async def test_prompts_are_kept_where_the_server_says_so(variant: str, fresh_http: Callable[..., HttpServer]) -> None:
    server = fresh_http(era="modern")
    async with manager_of(variant, http_spec(server, cache=CacheSpec(default_ttl_ms=HOUR))) as manager:
        for _ in range(2):
            await manager.get_prompt("fix__greet", {"who": "Ada", "ttl": str(HOUR)})
        await manager.get_prompt("fix__greet", {"ttl": str(HOUR), "who": "Ada"})
        assert len(server.log("prompts/get")) == 1, "the order of keys makes another request"
        await manager.get_prompt("fix__greet", {"who": "Bob", "ttl": str(HOUR)})
        assert len(server.log("prompts/get")) == 2
        for _ in range(2):
            await manager.get_prompt("fix__greet", {"who": "Ada"})
        assert len(server.log("prompts/get")) == 4, "a prompt that says nothing was kept"


async def test_legacy_answers_are_kept_only_as_long_as_configured(variant: str) -> None:
    async with manager_of(variant, stdio_spec("a"), stdio_spec("fix", cache=CacheSpec(default_ttl_ms=HOUR))) as manager:
        uri = kept()
        assert [await number(manager, uri, server="a") for _ in range(2)] == [1, 2]
        assert [await number(manager, uri, server="fix") for _ in range(2)] == [1, 1]
        assert await number(manager, uri, server="fix", principal="ada") == 2, "nobody said that it is public"


async def test_a_server_that_comes_again_starts_with_nothing_kept(variant: str) -> None:
    async with manager_of(variant, modern()) as manager:
        await number(manager, kept())
        assert await number(manager, kept(more="/other")) == 2
        await manager.unregister("fix")
        await manager.register(modern())
        assert await number(manager, kept(more="/other")) == 1


# -- bounds


async def test_the_one_used_longest_ago_leaves_for_the_newest(variant: str) -> None:
    async with manager_of(variant, modern(cache=CacheSpec(max_entries=2))) as manager:
        a, b, c = (kept(more=f"/{name}") for name in "abc")
        assert [await number(manager, uri) for uri in (a, b, a, c)] == [1, 2, 1, 3]
        assert [await number(manager, uri) for uri in (a, c, b)] == [1, 3, 4]


async def test_what_is_larger_than_the_cache_is_not_kept(variant: str) -> None:
    async with manager_of(variant, modern(cache=CacheSpec(max_bytes=100))) as manager:
        assert [await number(manager, kept()) for _ in range(2)] == [1, 2]


async def test_a_cache_that_is_switched_off_keeps_and_joins_nothing(variant: str) -> None:
    async with manager_of(variant, modern(cache=CacheSpec(enabled=False, coalesce=False))) as manager:
        assert sorted(await asyncio.gather(*(number(manager, kept(ms=50)) for _ in range(3)))) == [1, 2, 3]
        counts = manager.metrics().servers["fix"]
        assert (counts["cache_hits"], counts["cache_misses"], counts["coalesced"]) == (0, 0, 0)


# -- joined


async def asked(manager: Manager, method: str) -> None:
    """Until the server has received a request of that method."""
    await manager.call_tool("fix__seen", {"method": method, "wait_ms": 5000})


async def test_the_same_question_at_once_is_asked_once(variant: str, spec: ServerSpec) -> None:
    async with manager_of(variant, spec) as manager:
        assert await asyncio.gather(*(number(manager, kept(0, ms=300)) for _ in range(5))) == [1] * 5
        counts = manager.metrics().servers["fix"]
        assert (counts["requests"], counts["cache_misses"], counts["coalesced"]) == (1, 1, 4)
        assert await number(manager, kept(0, ms=300)) == 2, "what may not be kept was kept"


async def test_principals_and_questions_that_differ_do_not_share_an_answer(variant: str) -> None:
    async with manager_of(variant, modern()) as manager:
        uris = [kept(0, ms=200), kept(0, ms=200, more="/b")]
        asking = [number(manager, uri, principal=who) for uri in uris for who in ("ada", "bob")]
        assert sorted(await asyncio.gather(*asking)) == [1, 2, 3, 4]


async def test_a_caller_that_gives_up_takes_nobody_along(variant: str, spec: ServerSpec) -> None:
    async with manager_of(variant, spec) as manager:
        callers = [asyncio.create_task(number(manager, kept(0, ms=500))) for _ in range(3)]
        await asked(manager, "resources/read")
        callers[0].cancel()
        callers[2].cancel()
        assert await callers[1] == 1
        for caller in (callers[0], callers[2]):
            with pytest.raises(asyncio.CancelledError):
                await caller
        assert manager.metrics().in_flight == 0


async def test_the_last_one_that_gives_up_takes_the_request(variant: str, spec: ServerSpec) -> None:
    async with manager_of(variant, spec) as manager:
        callers = [asyncio.create_task(number(manager, kept(0, ms=60_000))) for _ in range(3)]
        await asked(manager, "resources/read")
        for caller in callers:
            caller.cancel()
        await asyncio.wait(callers)
        stopped = await manager.call_tool("fix__seen", {"method": "stopped", "wait_ms": 5000})
        assert "stopped" in stopped.text, "the server works on for nobody"
        await until(lambda: manager.metrics().in_flight == 0, what="the end of the request")
        assert await number(manager, kept(0, ms=0)) == 2


async def test_an_error_goes_to_all_and_is_not_kept(variant: str, spec: ServerSpec) -> None:
    async with manager_of(variant, spec) as manager:
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
async def test_the_gateway_gives_kept_answers_to_clients_of_both_eras(variant: str, era: str, spec: ServerSpec) -> None:
    async with serving(variant, spec) as served, served.client(era) as client, served.client(era) as other:
        for asker in (client, other):
            read = await asker.result("resources/read", {"uri": kept()})
            assert read["contents"][0]["text"] == "answer 1"
            assert read["contents"][0]["x-kept"] == 12345678901234567890123
        answers = (asker.result("resources/read", {"uri": kept(0, ms=300)}) for asker in (client, other))
        assert {read["contents"][0]["text"] for read in await asyncio.gather(*answers)} == {"answer 2"}
        counts = served.manager.metrics().servers["fix"]
        assert (counts["cache_hits"], counts["cache_misses"], counts["coalesced"]) == (1, 2, 1)


async def test_the_gateway_keeps_principals_apart(variant: str, spec: ServerSpec) -> None:
    async with serving(variant, spec) as served:
        seen: dict[str, set[str]] = {}
        for who in ("ada", "bob", "ada", "bob"):
            async with served.client("modern") as client:
                client.connection.caller = who
                read = await client.result("resources/read", {"uri": kept(scope="private")})
                seen.setdefault(who, set()).add(read["contents"][0]["text"])
        assert seen == {"ada": {"answer 1"}, "bob": {"answer 2"}}


async def test_a_read_with_a_progress_token_is_its_callers_own(variant: str, spec: ServerSpec) -> None:
    async with serving(variant, spec) as served, served.client("modern") as client:
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


async def test_a_client_that_hangs_up_does_not_take_the_others_answer(variant: str, spec: ServerSpec) -> None:
    async with serving(variant, spec) as served, served.client("modern") as stays:
        async with served.client("modern") as leaves:
            await leaves.connection.send(leaves.encode("resources/read", {"uri": kept(0, ms=500)}))
            await asked(served.manager, "resources/read")
            staying = asyncio.create_task(stays.result("resources/read", {"uri": kept(0, ms=500)}))
            joined = served.manager.metrics
            await until(lambda: joined().servers["fix"]["coalesced"] == 1, what="the second client")
        assert (await staying)["contents"][0]["text"] == "answer 1"
