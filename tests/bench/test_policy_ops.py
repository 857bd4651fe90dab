"""Per-call costs of the policy operations, for every variant: what one registration, checkout, choice or probe takes.

Rule: ordinary tests in ``make test`` (each operation runs once and is checked), figures in ``make bench-micro``. The
scenario ``policy-ops`` gives the verdict between variants; these numbers explain it.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture
from tests.contract.kit import stdio_spec

from crossfade.impls import VARIANTS, Config, Manager, ServerSpec, ServerState, open_manager
from crossfade.impls.cores import Cores, bench_ops
from crossfade.impls.cores_numba.bench_ops import ARRAY_OPS, BATCH_OPS, prepare

CORE_OPS = ["pool_checkout", "route", "breaker"]
ITERATIONS = 20_000
BATCH = 50

Run = Callable[[Coroutine[Any, Any, object]], Any]


def cores_of(variant: str) -> Cores:
    """What an asyncio shell of that variant is made of."""
    module, _, manager = VARIANTS[variant].factory.partition(":")
    cores: Cores = getattr(importlib.import_module(module), manager).cores
    return cores


@pytest.mark.parametrize("size", [8, 256])
@pytest.mark.parametrize("operation", CORE_OPS)
def test_core(benchmark: BenchmarkFixture, variant: str, operation: str, size: int) -> None:
    """20,000 operations per round, state built outside the timed part where the core allows it."""
    benchmark.group = f"{operation} x {ITERATIONS}, {size} items"
    pedantic: Any = benchmark.pedantic  # untyped in the plugin
    if VARIANTS[variant].shell == "asyncio":
        cores = cores_of(variant)
        pedantic(
            lambda timed: timed(),
            setup=lambda: ((bench_ops.prepare(operation, ITERATIONS, size, cores),), {}),
            rounds=20,
            warmup_rounds=2,
        )
        return
    native = importlib.import_module("crossfade_native")
    spent_ns = pedantic(native.policy_bench, (operation, ITERATIONS, size), rounds=20, warmup_rounds=2)
    assert 0 < spent_ns < 10_000_000_000


@pytest.fixture
def opened(variant: str) -> Iterator[tuple[Manager, Run]]:
    """An open manager over one child, and a way to run coroutines on its loop from a synchronous test."""
    with asyncio.Runner() as runner:
        manager = open_manager(Config(servers=(stdio_spec("fix"),)), variant)
        runner.run(manager.__aenter__())
        yield manager, runner.run
        runner.run(manager.__aexit__(None, None, None))


def test_register(benchmark: BenchmarkFixture, opened: tuple[Manager, Run]) -> None:
    """50 registrations and removals of a server that is not connected to."""
    manager, run = opened
    benchmark.group = f"register and unregister x {BATCH}"
    spec = ServerSpec(name="extra", urls=("http://127.0.0.1:9/mcp",), lazy=True)

    async def batch() -> None:
        for _ in range(BATCH):
            await manager.register(spec)
            await manager.unregister("extra", drain_s=0.0)

    benchmark(lambda: run(batch()))
    assert [info.name for info in manager.servers()] == ["fix"]


def test_health(benchmark: BenchmarkFixture, opened: tuple[Manager, Run]) -> None:
    """50 probes of a child, one after the other: two pipes and two context switches each."""
    manager, run = opened
    benchmark.group = f"health x {BATCH}"

    async def batch() -> dict[str, ServerState]:
        for _ in range(BATCH - 1):
            await manager.health("fix")
        return await manager.health("fix")

    assert benchmark(lambda: run(batch())) == {"fix": ServerState.HEALTHY}


def test_get(benchmark: BenchmarkFixture, opened: tuple[Manager, Run]) -> None:
    """One snapshot of a server."""
    manager, _ = opened
    benchmark.group = "get"
    assert benchmark(manager.get, "fix").name == "fix"


def test_call(benchmark: BenchmarkFixture, opened: tuple[Manager, Run]) -> None:
    """50 calls in flight at once over one child, which is the slower end of the pipe."""
    manager, run = opened
    benchmark.group = f"call_tool x {BATCH}"

    async def batch() -> list[str]:
        calls = (manager.call_tool("fix__echo", {"text": str(number)}) for number in range(BATCH))
        return [result.text for result in await asyncio.gather(*calls)]

    assert benchmark(lambda: run(batch())) == [str(number) for number in range(BATCH)]


@pytest.mark.parametrize("size", [8, 1024])
@pytest.mark.parametrize("operation", sorted({**BATCH_OPS, **ARRAY_OPS}))
def test_batch(benchmark: BenchmarkFixture, operation: str, size: int) -> None:
    """The same number of operations in one call, and in arrays of 1,024: what the numba cores are for."""
    benchmark.group = f"{operation} x {ITERATIONS}, {size} items"
    pedantic: Any = benchmark.pedantic  # untyped in the plugin
    pedantic(
        lambda timed: timed(),
        setup=lambda: ((prepare(operation, ITERATIONS, size),), {}),
        rounds=20,
        warmup_rounds=2,
    )
