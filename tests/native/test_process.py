"""The native side as part of a process: forks, signals, exits, settings. Each test has a process of its own."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
import time
from typing import IO

import pytest

HEAD = """
import asyncio, os, sys
import crossfade_native as native
from crossfade.impls.errors import CrossfadeError
from crossfade.impls import Config, open_manager
"""


def script(body: str) -> list[str]:
    return [sys.executable, "-W", "error", "-c", HEAD + textwrap.dedent(body)]


def run_script(body: str, **environment: str) -> str:
    done = subprocess.run(
        script(body),
        capture_output=True,
        text=True,
        timeout=30,
        env={"PATH": "/usr/bin:/bin", **environment},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_forked_child_is_refused_and_leaves_cleanly() -> None:
    said = run_script("""
        async def use():
            await native.bridge_probe("echo")
        asyncio.run(use())
        manager = native.Manager(Config().to_json())
        pid = os.fork()
        if pid == 0:
            for attempt in (lambda: asyncio.run(use()), lambda: native.Manager(Config().to_json())):
                try:
                    attempt()
                except CrossfadeError as error:
                    print(error, flush=True)
            del manager
            sys.exit(7)
        _, status = os.waitpid(pid, 0)
        assert os.waitstatus_to_exitcode(status) == 7, status
        asyncio.run(use())
        print("the parent goes on")
    """)
    assert said.count("after the fork") == 2
    assert "spawn" in said
    assert said.endswith("the parent goes on\n")


def test_forking_before_first_use_is_fine() -> None:
    run_script("""
        async def use():
            return await native.bridge_probe("echo", b"x")
        pid = os.fork()
        assert asyncio.run(use()) == b"x"
        if pid:
            assert os.waitpid(pid, 0)[1] == 0
    """)


def test_a_forked_child_with_work_in_flight_leaves_cleanly() -> None:
    run_script("""
        import gc
        async def main():
            tasks = [asyncio.ensure_future(native.bridge_probe("never")) for _ in range(10)]
            await asyncio.sleep(0.01)
            pid = os.fork()
            if pid == 0:
                tasks.clear()
                gc.collect()
                os._exit(0)
            assert os.waitpid(pid, 0)[1] == 0
            for task in tasks:
                task.cancel()
        asyncio.run(main())
    """)


def test_exiting_with_work_in_flight_does_not_hang_or_crash() -> None:
    run_script("""
        async def main():
            for _ in range(10):
                native.bridge_probe("never").send(None)
        loop = asyncio.new_event_loop()
        probes = []
        async def start():
            for kind in ("never", "sleep", "echo") * 10:
                probe = native.bridge_probe(kind)
                probe.send(None)
                probes.append(probe)
        loop.run_until_complete(start())
        loop.close()
    """)


def wait_for_line(stream: IO[str], text: str) -> None:
    line = stream.readline()
    assert text in line, line


def test_ctrl_c_ends_a_wait_in_native_code() -> None:
    child = subprocess.Popen(
        script("""
            async def main():
                task = asyncio.ensure_future(native.bridge_probe("never"))
                await asyncio.sleep(0.01)
                print("waiting", flush=True)
                try:
                    await task
                finally:
                    print("cancelled", native.bridge_probes_running(), flush=True)
            try:
                asyncio.run(main())
            except KeyboardInterrupt:
                sys.exit(42)
        """),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    with child:
        wait_for_line(child.stdout, "waiting")
        began = time.monotonic()
        child.send_signal(signal.SIGINT)
        wait_for_line(child.stdout, "cancelled")
        assert child.wait(10) == 42
        assert time.monotonic() - began < 5


def test_the_number_of_workers_can_be_set() -> None:
    body = """
        before = native.build_info()["workers"]
        manager = native.Manager(Config().to_json())
        print(before, native.build_info()["workers"])
    """
    assert run_script(body) == "0 1\n"
    assert run_script(body, CROSSFADE_WORKERS="2") == "0 2\n"


@pytest.mark.parametrize("setting", ["many", "0", "-1", "100000"])
def test_a_wrong_number_of_workers_names_the_setting(setting: str) -> None:
    said = run_script(
        """
        try:
            native.Manager(Config().to_json())
        except CrossfadeError as error:
            print(error.code, error)
        """,
        CROSSFADE_WORKERS=setting,
    )
    assert said.startswith("config ")
    assert "CROSSFADE_WORKERS" in said


def test_another_number_of_workers_later_is_refused() -> None:
    said = run_script("""
        native.Manager(Config().to_json(), workers=1)
        native.Manager(Config().to_json(), workers=1)
        try:
            native.Manager(Config().to_json(), workers=2)
        except CrossfadeError as error:
            print(error)
    """)
    assert "cannot change to 2" in said
