"""Lists of several servers, cut into pages: all of it, once and in order, and a cursor is good for its list alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from tests.contract.bridging import ERAS, TALKERS, unique
from tests.contract.clients import serving
from tests.contract.kit import HttpServer, http_spec, stdio_spec
from tests.contract.servers.tools import TOOLS
from tests.contract.talker import Message, Talker

from crossfade.impls import ServerSpec

SIZE = 3
KEYS = {
    "tools/list": ("tools", "name"),
    "prompts/list": ("prompts", "name"),
    "resources/list": ("resources", "uri"),
    "resources/templates/list": ("resourceTemplates", "uriTemplate"),
}
MORE = {"one": ("a1", "a2", "a3"), "two": ("b1", "b2", "b3", "b4")}
"""What each server lists besides the fixture's own: pages end inside a server's part and at its edge."""
WHOLE = {
    "tools/list": [f"{server}__{tool}" for server in MORE for tool in TOOLS],
    "prompts/list": [f"{server}__{name}" for server, more in MORE.items() for name in ("greet", *more)],
    "resources/list": [f"fixture://{name}" for more in MORE.values() for name in ("greeting", *more)],
    "resources/templates/list": [f"fixture://{name}/{{id}}" for more in MORE.values() for name in ("item", *more)],
}


@pytest.fixture
def specs(fresh_http: Callable[..., HttpServer]) -> list[ServerSpec]:
    """A legacy server on a pipe and a modern one over HTTP, in this order."""
    one, two = (",".join(more) for more in MORE.values())
    server = fresh_http(era="modern", FIXTURE_MORE=two)
    return [stdio_spec("one", env={"FIXTURE_MORE": one}), http_spec(server, "two")]


async def pages(talker: Talker, method: str) -> list[tuple[list[str], str | None]]:
    """Every page: what it names, and the cursor of the next."""
    key, name = KEYS[method]
    found: list[tuple[list[str], str | None]] = []
    params: dict[str, Any] = {}
    while len(found) <= len(WHOLE[method]):
        result: Message = await talker.result(method, params)
        following = result.get("nextCursor")
        found.append(([item[name] for item in result[key]], following))
        if following is None:
            return found
        params = {"cursor": following}
    raise AssertionError(f"{method} has no last page")


@pytest.mark.parametrize("era", ERAS)
async def test_pages_lose_nothing_and_say_nothing_twice(variant: str, era: str, specs: list[ServerSpec]) -> None:
    async with serving(variant, *specs, page_size=SIZE) as served, TALKERS[era](served.gateway) as talker:
        for method, whole in WHOLE.items():
            found = await pages(talker, method)
            assert [name for names, _ in found for name in names] == whole
            assert [len(names) for names, _ in found[:-1]] == [SIZE] * (len(found) - 1)
            assert 0 < len(found[-1][0]) <= SIZE
            assert await pages(talker, method) == found, "another time the same pages"


@pytest.mark.parametrize("era", ERAS)
async def test_a_cursor_of_another_list_is_refused(variant: str, era: str, specs: list[ServerSpec]) -> None:
    async with serving(variant, *specs, page_size=SIZE) as served, TALKERS[era](served.gateway) as talker:
        given = {method: (await talker.result(method))["nextCursor"] for method in KEYS}
        for method in KEYS:
            others = [cursor for other, cursor in given.items() if other != method]
            for foreign in (*others, "second", "", "AAAA", given[method] + "A", given[method][:-1], 7, ["a"]):
                refused = await talker.error(method, {"cursor": foreign})
                assert refused["code"] == -32602, (method, foreign)
                assert "cursor" in refused["message"]
            assert "nextCursor" in await talker.result(method, {"cursor": given[method]}), "its own is still good"


@pytest.mark.parametrize("era", ERAS)
async def test_a_cursor_does_not_outlive_a_change_of_its_list(variant: str, era: str, specs: list[ServerSpec]) -> None:
    async with serving(variant, *specs, page_size=SIZE) as served, TALKERS[era](served.gateway) as talker:
        await talker.watch()
        cursor = (await talker.result("tools/list"))["nextCursor"]
        await talker.result("tools/call", {"name": "one__grow", "arguments": {"name": unique("grown")}})
        await talker.hear("notifications/tools/list_changed")
        assert (await talker.error("tools/list", {"cursor": cursor}))["code"] == -32602
        names = [name for page, _ in await pages(talker, "tools/list") for name in page]
        assert len(names) == len(set(names)) == len(WHOLE["tools/list"]) + 1
