"""The catalog forgets a server that was updated, at any moment of somebody else's search."""

from __future__ import annotations

from typing import Any

import pytest
from tests.contract.kit import manager_of, stdio_spec

from crossfade.impls.errors import UnknownTarget
from crossfade.impls.python.catalog import Catalog


async def test_a_read_that_meets_an_update_looks_again(monkeypatch: pytest.MonkeyPatch) -> None:
    items = Catalog.items
    asked = 0

    async def overtaken(self: Catalog, *args: Any, **more: Any) -> Any:
        nonlocal asked
        found = await items(self, *args, **more)
        asked += 1
        if asked <= 2:  # both lists of the first search
            for name in ("fix", "other"):
                self.forget(name)
        return found

    monkeypatch.setattr(Catalog, "items", overtaken)
    async with manager_of("python", stdio_spec("fix"), stdio_spec("other")) as manager:
        read = await manager.read_resource("fixture://item/1")
        assert read.data["contents"][0]["uri"] == "fixture://item/1"
        assert asked == 4
        with pytest.raises(UnknownTarget):
            await manager.read_resource("nowhere://at/all")
