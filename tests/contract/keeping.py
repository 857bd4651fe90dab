"""What the tests of kept and shared answers stand on: the fixture's reads that may be kept, and what to ask of them.

The fixture answers ``fixture://kept/TTL/SCOPE/MS`` after MS ms with a number that is another one each time.
"""

from __future__ import annotations

from typing import Any

from tests.contract.kit import stdio_spec

from crossfade.impls import Manager, ServerSpec

HOUR = 3_600_000


def kept(ttl_ms: int = HOUR, scope: str = "public", ms: int = 0, more: str = "") -> str:
    return f"fixture://kept/{ttl_ms}/{scope}/{ms}{more}"


async def number(manager: Manager, uri: str, **more: Any) -> int:
    """Which of its answers the server, or the cache, gave."""
    return int((await manager.read_resource(uri, **more)).data["contents"][0]["text"].removeprefix("answer "))


async def tell(manager: Manager, what: str, **params: Any) -> None:
    await manager.call_tool("fix__tell", {"what": what, "params": params})


def modern(**more: Any) -> ServerSpec:
    return stdio_spec(era="modern", **more)


async def asked(manager: Manager, method: str) -> None:
    """Until the server has received a request of that method."""
    await manager.call_tool("fix__seen", {"method": method, "wait_ms": 5000})
