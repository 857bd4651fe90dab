"""What the Python fleet and generator ask of the machine: an event loop, a CPU and its turn on it, open files, stdin.

The rule: the loop is uvloop's where it is installed, and nothing that blocks runs on it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import threading
from collections.abc import Coroutine, Iterator
from typing import Any, TypeVar

from crossfade.harness.processes import raise_file_limit

Result = TypeVar("Result")


def run(main: Coroutine[Any, Any, Result]) -> Result:
    """Run to the end, with as many open files as the system allows."""
    raise_file_limit()
    try:
        import uvloop  # noqa: PLC0415 - an extra
    except ModuleNotFoundError:
        return asyncio.run(main)
    return uvloop.run(main)


def stdin_lines() -> asyncio.Queue[str | None]:
    """Lines of stdin, then None; read by a thread, so that the loop never blocks on them."""
    loop, lines = asyncio.get_running_loop(), asyncio.Queue[str | None]()

    def read() -> None:
        with contextlib.suppress(RuntimeError):  # the loop is gone: nobody listens
            for line in sys.stdin:
                loop.call_soon_threadsafe(lines.put_nowait, line.strip())
            loop.call_soon_threadsafe(lines.put_nowait, None)

    threading.Thread(target=read, daemon=True).start()
    return lines


def pin(cpu: int | None) -> None:
    """Pin this process, if asked. Raises ValueError for a CPU it may not use."""
    if cpu is None:
        return
    try:
        os.sched_setaffinity(0, {cpu})
    except (AttributeError, OSError) as error:
        raise ValueError(f"cannot pin to cpu {cpu} ({error}); choose another or leave `cpu` out") from error


@contextlib.contextmanager
def batch() -> Iterator[None]:
    """While it lasts, this process preempts nobody when it is woken (``SCHED_BATCH``; ``sched.rs`` says why).

    A policy that was set from outside stays, and so does the usual one where the system refuses or has no other.
    """
    ours = False
    with contextlib.suppress(AttributeError, OSError):  # no such call, or none that works
        if os.sched_getscheduler(0) == os.SCHED_OTHER:
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
            ours = True
    try:
        yield
    finally:
        if ours:
            os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
