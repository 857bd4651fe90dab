"""Calls go to the instances that the configured balancer says, and pools hold the connections they were told to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from tests.contract.kit import HttpServer, manager_of, until

from crossfade.impls import PoolSpec, ServerSpec


@pytest.mark.parametrize(
    ("balancer", "weights", "expect"),
    [
        ("round_robin", (), (6, 6)),
        ("weighted", (2, 1), (8, 4)),
        ("weighted", (), (6, 6)),
        ("least_pending", (), (6, 6)),
    ],
)
async def test_calls_are_spread_as_configured(
    variant: str,
    fresh_http: Callable[..., HttpServer],
    balancer: Any,
    weights: tuple[int, ...],
    expect: tuple[int, ...],
) -> None:
    first, second = fresh_http(era="modern"), fresh_http(era="modern")
    spec = ServerSpec(name="two", urls=(first.url, second.url), balancer=balancer, weights=weights)
    async with manager_of(variant, spec) as manager:
        for _ in range(12):
            await manager.call_tool("two__echo", {"text": "x"})
        assert (len(first.log("tools/call")), len(second.log("tools/call"))) == expect


async def test_rendezvous_keeps_one_caller_on_one_instance(variant: str, fresh_http: Callable[..., HttpServer]) -> None:
    first, second = fresh_http(era="modern"), fresh_http(era="modern")
    spec = ServerSpec(name="two", urls=(first.url, second.url), balancer="rendezvous", affinity="principal")
    async with manager_of(variant, spec) as manager:
        for _ in range(6):
            await manager.call_tool("two__echo", {"text": "x"})
        assert sorted((len(first.log("tools/call")), len(second.log("tools/call")))) == [0, 6]


async def test_the_minimum_is_open_before_anybody_calls(variant: str, shared_http: Callable[..., HttpServer]) -> None:
    pool = PoolSpec(min_connections=3, max_connections=5, idle_timeout_ms=1)
    spec = ServerSpec(name="one", urls=(shared_http(era="modern").url,), pool=pool)
    async with manager_of(variant, spec) as manager:
        await until(lambda: manager.get("one").instances[0].connections == 3, what="opening the minimum")
        await manager.call_tool("one__echo", {"text": "x"})
        assert manager.get("one").instances[0].connections == 3
