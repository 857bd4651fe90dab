"""Rows of the bridge table: what is told of changes, in every place of the grid."""

from __future__ import annotations

import pytest
from tests.contract.bridging import Bridge, announced, unique
from tests.contract.talker import Message, Talker


@pytest.mark.bridge("subscription")
@pytest.mark.relay_hazard("resources/subscribe and unsubscribe not forwarded")
@pytest.mark.relay_hazard("list_changed lost")
async def test_subscription(bridge: Bridge) -> None:
    """Updates of what was asked for, of lists, and of nothing else; they end when the client says so."""
    async with bridge.open() as talker:
        await talker.watch("fixture://greeting")
        for uri in ("fixture://other", "fixture://greeting"):
            await announced(talker, "resources/updated", uri=uri, expected=uri == "fixture://greeting")
        heard = await talker.hear("notifications/resources/updated")
        assert heard["params"]["uri"] == "fixture://greeting"
        for what in ("tools", "prompts", "resources"):
            await announced(talker, f"{what}/list_changed")
            await talker.hear(f"notifications/{what}/list_changed")
        name = unique("grown")
        assert await talker.text("grow", name=name) != "0"
        await talker.hear("notifications/tools/list_changed")
        assert f"fix__{name}" in {tool["name"] for tool in await all_of(talker, "tools")}
        await talker.unwatch("fixture://greeting")
        await announced(talker, "resources/updated", uri="fixture://greeting", expected=False)
        await talker.text("echo", text="a round trip")
        assert not [m for m in talker.heard if m["method"] == "notifications/resources/updated"]


async def all_of(talker: Talker, what: str) -> list[Message]:
    page = await talker.result(f"{what}/list")
    items: list[Message] = page[what]
    while "nextCursor" in page:
        page = await talker.result(f"{what}/list", {"cursor": page["nextCursor"]})
        items += page[what]
    return items
