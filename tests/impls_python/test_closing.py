"""Leaving the manager leaves no process behind, whoever is cancelled wherever."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

from crossfade.impls import Config, ServerSpec
from crossfade.impls.python import stdio_connection
from crossfade.impls.python.manager import PythonManager

from .stepping import CancelAt
from .test_cancellation import CHILD

STUBBORN = "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + CHILD + "\ntime.sleep(1000)\n"


def group_lives(pid: int) -> bool:
    try:
        os.killpg(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("served", [False, True], ids=["manager", "gateway"])
async def test_a_close_that_is_cancelled_at_any_await_kills_what_is_left(
    served: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stdio_connection, "EXIT_WAIT_S", 0.02)
    monkeypatch.setattr(stdio_connection, "TERM_WAIT_S", 0.02)
    script = tmp_path / "child.py"
    script.write_text(STUBBORN)
    for k in range(100):
        spec = ServerSpec(name="up", command=sys.executable, args=(str(script),), era="modern")
        manager = await PythonManager(Config(servers=(spec,))).__aenter__()
        pid = manager.get("up").instances[0].pid
        assert pid is not None
        if served:
            gateway = await manager.serve(port=0)
            _, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
            await asyncio.sleep(0)
            writer.close()
        closing = CancelAt(manager.__aexit__(None, None, None), k)
        await closing
        assert not group_lives(pid)
        if not closing.reached:
            assert k >= 1
            return
    raise AssertionError("closing never ended")
