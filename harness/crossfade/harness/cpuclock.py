"""Processor time of another process, in nanoseconds, without asking it.

Linux encodes a process id in a clock id: ``((~pid) << 3) | 2`` is the scheduler's clock (user and system) of process
``pid`` (include/linux/posix-timers.h, MAKE_PROCESS_CPUCLOCK with CPUCLOCK_SCHED). It counts what tick-based
``/proc/PID/stat`` rounds to 10 ms.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable
from pathlib import Path

_SCHED = 2


def process_cpu_ns(pid: int) -> int:
    """User and system time of all threads of ``pid``. Raises ProcessLookupError if it is gone."""
    try:
        return time.clock_gettime_ns((~pid << 3) | _SCHED)
    except OSError as error:
        raise ProcessLookupError(f"process {pid} is gone, so its processor time cannot be read") from error


def total_cpu_ns(pids: Iterable[int]) -> int:
    """The sum over several processes, for a proxy that has a master and workers."""
    return sum(process_cpu_ns(pid) for pid in pids)


def children(pid: int) -> list[int]:
    """Direct children of ``pid``, in no order; empty if it is gone."""
    found: list[int] = []
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
    except OSError:
        return found
    for task in tasks:
        # It may end at any moment, and its threads one by one.
        with contextlib.suppress(OSError):
            found.extend(int(p) for p in (task / "children").read_text().split())
    return found
