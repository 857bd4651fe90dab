"""Who goes where: each balancer by its own rule, and with affinity the same caller to the same instance."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any, Literal

import pytest
from tests.contract.clients import serving
from tests.contract.kit import HttpServer, http_spec, manager_of

from crossfade.impls import ServerSpec
from crossfade.impls.errors import ServerError


@pytest.fixture
def three(fresh_http: Callable[..., HttpServer]) -> Callable[..., tuple[list[HttpServer], ServerSpec]]:
    def of(era: str = "modern", **more: Any) -> tuple[list[HttpServer], ServerSpec]:
        servers = [fresh_http(era=era) for _ in range(3)]
        return servers, http_spec(servers[0], "fix", urls=tuple(server.url for server in servers), **more)

    return of


Three = Callable[..., tuple[list[HttpServer], ServerSpec]]


def counts(servers: list[HttpServer]) -> list[int]:
    return [len(server.log("tools/call")) for server in servers]


async def test_turns_are_taken_evenly(variant: str, three: Three) -> None:
    servers, spec = three(balancer="round_robin")
    async with manager_of(variant, spec) as manager:
        for _ in range(9):
            await manager.call_tool("fix__echo", {})
    assert counts(servers) == [3, 3, 3]


async def test_weights_are_kept_exactly(variant: str, three: Three) -> None:
    servers, spec = three(balancer="weighted", weights=(5, 1, 3))
    async with manager_of(variant, spec) as manager:
        for _ in range(18):
            await manager.call_tool("fix__echo", {})
    assert counts(servers) == [10, 2, 6]


async def test_calls_one_at_a_time_leave_nobody_out_by_pending(variant: str, three: Three) -> None:
    servers, spec = three(balancer="least_pending")
    async with manager_of(variant, spec) as manager:
        for _ in range(9):
            await manager.call_tool("fix__echo", {})
    assert counts(servers) == [3, 3, 3]


async def test_a_principal_stays_where_it_is(variant: str, three: Three) -> None:
    servers, spec = three(balancer="rendezvous", affinity="principal")
    async with manager_of(variant, spec) as manager:
        for number in range(12):
            before = counts(servers)
            for _ in range(3):
                await manager.call_tool("fix__echo", {}, principal=f"user-{number}")
            assert sorted(now - was for now, was in zip(counts(servers), before, strict=True)) == [0, 0, 3]
    assert all(counts(servers)), "twelve principals on one of three instances is no spread"


async def test_a_tool_stays_where_it_is(variant: str, three: Three) -> None:
    servers, spec = three(balancer="rendezvous", affinity="tool")
    async with manager_of(variant, spec) as manager:
        for tool in ("echo", "odd", "look", "again"):
            before = counts(servers)
            for number in range(3):
                await manager.call_tool(f"fix__{tool}", {}, principal=f"user-{number}")
            assert sorted(now - was for now, was in zip(counts(servers), before, strict=True)) == [0, 0, 3]


@pytest.mark.parametrize("affinity", ["session", "principal"])
@pytest.mark.parametrize("era", ["modern", "legacy"])
async def test_a_gateway_client_stays_where_it_is(
    variant: str, era: str, affinity: Literal["session", "principal"], three: Three
) -> None:
    servers, spec = three(era, balancer="rendezvous", affinity=affinity)
    async with serving(variant, spec) as served:
        for number in range(8):
            async with served.client(era, f"user-{number}") as client:
                before = counts(servers)
                for _ in range(3):
                    await client.text("fix__echo", text="here")
                assert sorted(now - was for now, was in zip(counts(servers), before, strict=True)) == [0, 0, 3]
    assert sum(1 for count in counts(servers) if count) >= 2


async def test_whoever_stays_moves_when_its_instance_is_gone(variant: str, three: Three) -> None:
    servers, spec = three(balancer="rendezvous", affinity="principal", timeout_ms=3000)
    async with manager_of(variant, spec) as manager:
        await manager.call_tool("fix__echo", {}, principal="ann")
        home = counts(servers).index(1)
        servers[home].kill()
        moved = 0
        for _ in range(4):
            with suppress(ServerError):  # the one that met the connection as it broke
                await manager.call_tool("fix__echo", {}, principal="ann")
                moved += 1
        assert moved >= 3
