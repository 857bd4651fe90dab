"""What the load talks to, and which processes are billed for it."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from crossfade.harness.cpuclock import process_cpu_ns
from crossfade.harness.problems import BlockFailed
from crossfade.harness.processes import Child


class Target(msgspec.Struct, frozen=True):
    """Where the load goes. ``pids`` are the processes whose processor time and memory count; ``look`` finds those of
    a gateway that starts more of them as it likes. Neither: they are unknown. ``tools`` are all that are called, of
    several servers; ``worker`` takes orders, if the target is a variant of ours."""

    port: int
    tool: str
    pids: tuple[int, ...] = ()
    host: str = "127.0.0.1"
    path: str = "/mcp"
    look: Callable[[], tuple[int, ...]] | None = None
    tools: tuple[str, ...] = ()
    worker: Child | None = None

    def processes(self) -> tuple[int, ...]:
        """Those that count now."""
        return self.look() if self.look is not None else self.pids

    def readable(self) -> tuple[int, ...]:
        """The same for memory. Raises BlockFailed if they are unknown."""
        if found := self.processes():
            return found
        raise BlockFailed("the target's processes are unknown, so its memory cannot be read; name it with --command")

    def clock(self) -> dict[int, int]:
        """Processor time of each process so far, in nanoseconds; empty if they are unknown."""
        return {pid: process_cpu_ns(pid) for pid in self.processes()}


def spent_ns(before: dict[int, int], after: dict[int, int]) -> int | None:
    """Processor time between two readings, None if nothing could be read.

    Raises BlockFailed if a process ended in between, for its last moments are lost.
    """
    if not before:
        return None
    if gone := sorted(before.keys() - after.keys()):
        raise BlockFailed(f"process {gone[0]} of the target ended while it was measured; see what its log says")
    # One that began in between is billed from its birth.
    return sum(ns - before.get(pid, 0) for pid, ns in after.items())
