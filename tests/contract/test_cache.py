"""Answers that are given again: never stale, never to somebody else, and never more than allowed."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable

import pytest
from tests.contract.keeping import HOUR, asked, kept, modern, number, tell
from tests.contract.kit import HttpServer, http_spec, manager_of, stdio_spec

from crossfade.impls import CacheSpec, ServerSpec

TTL = re.compile(rb'"ttlMs": ?(\d+)')


async def test_a_fresh_answer_is_given_again_byte_for_byte_but_for_its_age(
    variant: str, modern_spec: ServerSpec
) -> None:
    async with manager_of(variant, modern_spec) as manager:
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
async def test_a_resource_that_changed_is_read_again(variant: str, modern_spec: ServerSpec, what: str) -> None:
    async with manager_of(variant, modern_spec) as manager:
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
