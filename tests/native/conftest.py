"""Fixtures of the native suite: event loops of every kind that the bridge must serve, and a guard against leaks.

Rule: a missing native module fails these tests; CROSSFADE_NO_NATIVE=1 leaves them out where there is no cargo.
"""

from __future__ import annotations

import asyncio
import gc
import os
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, NoReturn

import pytest
import uvloop

from crossfade.impls import missing

Run = Callable[[Coroutine[Any, Any, Any]], Any]


class NoReaders(asyncio.SelectorEventLoop):
    """A loop that cannot watch files, as the proactor loop of Windows."""

    def add_reader(self, fd: Any, callback: Any, *args: Any) -> NoReturn:  # type: ignore[override]
        raise NotImplementedError


LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
    "no-readers": NoReaders,
}


@pytest.fixture(autouse=True)
def native() -> None:
    """The module must be there."""
    if (why := missing("rust")) is not None:
        if os.environ.get("CROSSFADE_NO_NATIVE") == "1":
            pytest.skip(why)
        pytest.fail(why)


@pytest.fixture(params=list(LOOPS))
def new_loop(request: pytest.FixtureRequest) -> Callable[[], asyncio.AbstractEventLoop]:
    """Makes loops of one kind."""
    return LOOPS[request.param]


@pytest.fixture
def run(new_loop: Callable[[], asyncio.AbstractEventLoop]) -> Run:
    """Runs a coroutine on a fresh loop of one kind, in asyncio's debug mode, which checks more."""

    def on_fresh_loop(main: Coroutine[Any, Any, Any]) -> Any:
        with asyncio.Runner(loop_factory=new_loop, debug=True) as runner:
            return runner.run(asyncio.wait_for(main, 20))

    return on_fresh_loop


@pytest.fixture(autouse=True)
def no_work_left(native: None) -> Iterator[None]:
    """Whatever a test gave up is gone from tokio when it ends."""
    yield
    gc.collect()
    nothing_runs()


async def until(condition: Callable[[], bool]) -> None:
    """Lets the loop turn until it holds."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 -- the bridge's insides are tested, and they have no event
            await asyncio.sleep(0)


def nothing_runs(within_s: float = 5.0) -> None:
    """Cancellation reaches tokio on its own thread, so it is waited for."""
    import crossfade_native

    end = time.monotonic() + within_s
    while crossfade_native.bridge_probes_running():
        assert time.monotonic() < end, f"{crossfade_native.bridge_probes_running()} probes are still alive on tokio"
        time.sleep(0.001)
