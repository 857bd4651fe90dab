"""Orders about change: update a server, and keep what the manager tells of itself meanwhile.

The rule: times are of the monotonic clock, which all processes of a machine share, so that the harness can set them
beside its own. Nothing is followed unless it was ordered.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from crossfade.impls import CrossfadeError, Manager, parse_config

Order = dict[str, Any]


class Watch:
    """Every event of a manager from the order on, with its time."""

    def __init__(self, manager: Manager) -> None:
        self.seen: list[dict[str, Any]] = []
        self._task = asyncio.get_running_loop().create_task(self._follow(manager))

    async def _follow(self, manager: Manager) -> None:
        async for event in manager.events():
            at_ns = time.monotonic_ns()
            self.seen.append(
                {"at_ns": at_ns, "kind": event.kind, "server": event.server, "old": event.old, "new": event.new}
            )

    async def end(self) -> list[dict[str, Any]]:
        """Stop following; what was seen."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        return self.seen


async def update(manager: Manager, order: Order, emit: Callable[[object], None]) -> None:
    """Replace a server's instances by those of ``entry``; say how long the caller waited, and what went wrong."""
    config = parse_config({"mcpServers": {order["server"]: order["entry"]}}, source="order")
    (spec,) = config.servers
    begin = time.perf_counter_ns()
    problem = None
    try:
        info = await manager.update(spec, strategy=order["strategy"])
        if info.state != "running":
            problem = f"it ended {info.state}: {info.message or 'without a reason'}"
    except CrossfadeError as error:
        problem = f"{type(error).__name__}: {error}"
    emit({"event": "updated", "ms": (time.perf_counter_ns() - begin) / 1e6, "problem": problem})
