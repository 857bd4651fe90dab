"""Fixtures of the contract suite: fixture servers over HTTP, and a guard that every test leaves no process behind."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import uvloop
from tests.contract.bridging import MIXED, PLACES, Bridge
from tests.contract.kit import HttpServer, children_of, eventually, http_spec, stdio_spec

from crossfade.impls import ServerSpec

importlib.import_module("crossfade.impls.python.on_numba")  # compiles on a fresh checkout: 13 s that are no test's own

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A hang is the hazard most tests here rule out, so it is told within seconds."""
    for item in items:
        if item.path.is_relative_to(HERE) and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(20))


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The gateway runs on uvloop, as ``crossfade serve`` does; calls in process on asyncio, as most callers do.

    Where event loops differ most (cancellation, processes, descriptors), both.
    """
    del config
    loops = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
    if item.path.stem in ("test_concurrency", "test_processes", "test_supervision"):
        return loops
    chosen = "uvloop" if item.path.stem.startswith(("test_gateway", "test_deployment", "test_bridge")) else "asyncio"
    return {chosen: loops[chosen]}


@pytest.fixture(scope="session")
def shared_http() -> Iterator[Callable[..., HttpServer]]:
    """A running HTTP fixture per kind, shared by all tests that do not harm it."""
    running: dict[tuple[tuple[str, Any], ...], HttpServer] = {}

    def of_kind(**kind: Any) -> HttpServer:
        key = tuple(sorted(kind.items()))
        if key not in running:
            running[key] = HttpServer(**kind)
        return running[key]

    yield of_kind
    for server in running.values():
        server.stop()


@pytest.fixture(params=[*PLACES, *MIXED], ids=str)
def bridge(request: pytest.FixtureRequest, variant: str, shared_http: Callable[..., HttpServer]) -> Bridge:
    """One place of the grid with one variant in the middle; what becomes of the test is told to README's table."""
    place = request.param
    if (row := request.node.get_closest_marker("bridge")) is not None:
        request.node.user_properties.append(("bridge", f"{row.args[0]}/{place.path}/{variant}"))
    return Bridge(variant, place, shared_http)


@pytest.fixture
def fresh_http() -> Iterator[Callable[..., HttpServer]]:
    """HTTP fixtures of this test alone, for tests that break them or count what they see."""
    with ExitStack() as stack:

        def start(**kind: Any) -> HttpServer:
            server = HttpServer(**kind)
            stack.callback(server.stop)
            return server

        yield start


@pytest.fixture(autouse=True)
def no_orphans() -> Iterator[None]:
    """Whatever the test started is gone when it ends, as soon as its manager has closed."""
    before = set(children_of())
    yield
    left = [pid for pid in children_of() if pid not in before and not _is_fixture(pid)]
    eventually(lambda: not [p for p in left if p in children_of()], within_s=2, what=f"the end of children {left}")


def _is_fixture(pid: int) -> bool:
    """Shared servers are started in the middle of tests and outlive them."""
    try:
        return b"tests.contract.servers.http" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


@pytest.fixture(params=["stdio", "http"])
def modern_spec(request: pytest.FixtureRequest, fresh_http: Callable[..., HttpServer]) -> ServerSpec:
    """A modern server, over both transports."""
    return stdio_spec(era="modern") if request.param == "stdio" else http_spec(fresh_http(era="modern"))
