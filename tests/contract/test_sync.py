"""The facade without asyncio: the same program on every variant, from any thread, and nothing left behind."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.contract.kit import HttpServer, children_of, http_spec, stdio_spec

from crossfade.impls import Config, ServerState, SyncManager, open_manager, open_sync
from crossfade.impls.errors import ManagerClosed, RemoteError, ServerExists, UnknownTarget, VariantUnavailable
from crossfade.impls.loop_thread import LoopThread

ROOT = Path(__file__).parents[2]


def program(manager: SyncManager) -> tuple[object, ...]:
    """What a caller without asyncio writes; it knows no variant."""
    tools = sorted(item.name for item in manager.list_tools())
    echoed = manager.call_tool("one__echo", {"text": "hello"})
    return tools, echoed.text, manager.get("one").state, manager.health(), manager.metrics().requests > 0


def test_the_same_program_runs_on_every_variant(variant: str) -> None:
    with open_sync(Config(servers=(stdio_spec("one"),)), variant) as manager:
        tools, text, state, health, counted = program(manager)
        assert "one__echo" in str(tools)
        assert (text, state, health, counted) == ("hello", ServerState.HEALTHY, {"one": ServerState.HEALTHY}, True)
        assert manager.variant == variant
    assert threading.active_count() == len(threading.enumerate())
    assert not [t for t in threading.enumerate() if t.name == "crossfade"]


def test_threads_share_one_manager(variant: str, shared_http: Callable[..., HttpServer]) -> None:
    spec = http_spec(shared_http(era="modern"), "web")
    with open_sync(Config(servers=(spec,)), variant) as manager, ThreadPoolExecutor(8) as pool:
        texts = list(pool.map(lambda n: manager.call_tool("web__echo", {"text": f"t{n}"}).text, range(200)))
    assert texts == [f"t{n}" for n in range(200)]


def test_errors_are_the_same_classes(variant: str) -> None:
    with open_sync(Config(servers=(stdio_spec("one"),)), variant) as manager:
        with pytest.raises(UnknownTarget):
            manager.call_tool("nobody__echo")
        with pytest.raises(ServerExists):
            manager.register(stdio_spec("one"))
        with pytest.raises(RemoteError):
            manager.call_tool("one__no_such_tool")


def test_events_are_an_iterator_that_ends_with_the_manager(variant: str) -> None:
    with open_sync(Config(), variant) as manager:
        events = manager.events()
        manager.register(stdio_spec("one"))
        assert next(e for e in events if e.kind == "registered").server == "one"
        manager.unregister("one")
        assert next(e for e in events if e.kind == "unregistered").server == "one"


def test_outside_of_the_block_nothing_works_and_says_so(variant: str) -> None:
    manager = open_sync(Config(), variant)
    with pytest.raises(ManagerClosed, match="inside `with`"):
        manager.list_tools()
    with manager:
        pass
    with pytest.raises(ManagerClosed, match="inside `with`"):
        manager.metrics()


def test_a_failing_block_still_reaps_its_children(variant: str) -> None:
    before = children_of()

    def failing() -> None:
        with open_sync(Config(servers=(stdio_spec("one"),)), variant):
            assert children_of() != before
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        failing()
    assert children_of() == before


INTERRUPTED = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever runs the tests in the background ignores it
from crossfade.impls import Config, open_sync
from tests.contract.kit import eventually, stdio_spec
with open_sync(Config(servers=(stdio_spec("one"),)), sys.argv[1]) as manager:
    print("ready", flush=True)
    try:
        manager.call_tool("one__sleep", {"ms": 60000})
    except KeyboardInterrupt:
        eventually(lambda: manager.metrics().in_flight == 0, what="the end of the call")
        print(manager.call_tool("one__echo", {"text": "still here"}).text, flush=True)
"""


def test_control_c_ends_the_call_and_not_the_manager(variant: str) -> None:
    child = subprocess.Popen([sys.executable, "-c", INTERRUPTED, variant], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    # The call is on its way as soon as a child of the child is asked; there is nothing to wait for but time.
    time.sleep(0.3)
    child.send_signal(signal.SIGINT)
    said = child.stdout.readline()
    assert child.wait(10) == 0
    child.stdout.close()
    assert said == "still here\n"


def test_a_call_from_the_managers_own_loop_is_refused_and_does_not_hang() -> None:
    thread = LoopThread()

    async def inside() -> None:
        thread.run(asyncio.sleep(0))

    try:
        with pytest.raises(ManagerClosed, match="own loop"):
            thread.run(inside())
    finally:
        thread.stop()


def test_the_environment_names_the_variant_where_the_code_does_not(
    variant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CROSSFADE_VARIANT", variant)
    assert open_manager(Config()).variant == variant
    assert open_sync(Config()).variant == variant
    monkeypatch.setenv("CROSSFADE_VARIANT", "cobol")
    with pytest.raises(VariantUnavailable, match="cobol"):
        open_manager(Config())
    assert os.environ["CROSSFADE_VARIANT"] == "cobol"
