"""Connections that are opened as fast as they can be, used once and closed: a storm.

The rule: a connection's latency runs from the moment its opening began to the answer of its one call (legacy: the
handshake lies between). One that cannot be opened is an error and is not tried again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from crossfade.harness.load_py.client import Client, now_ns
from crossfade.harness.load_py.record import NEVER, Record


class Storm:
    """``parallel`` tasks that take their turns at the connections that are left."""

    def __init__(self, client: Client) -> None:
        self.client, self.left = client, 0

    async def one(self, record: Record) -> None:
        begin, conn = now_ns(), None
        record.sent += record.measured(begin)
        try:
            async with asyncio.timeout(self.client.plan.timeout_s):
                conn = await self.client.open()
                verdict = await self.client.request(conn)
            record.ended(begin, begin, now_ns(), verdict.kind)
        except TimeoutError:
            record.ended(begin, begin, now_ns(), "timeout")
        except OSError:
            record.ended(begin, begin, now_ns(), "connect")
        finally:
            if conn is not None and conn.transport is not None:
                conn.transport.close()

    async def blow(self, count: int, record: Record, seconds: float) -> int:
        """``count`` of them, or as many as the time allows; how many were not done by then."""
        self.left = count

        async def slot() -> None:
            while self.left:
                self.left -= 1
                await self.one(record)

        tasks = [asyncio.create_task(slot()) for _ in range(min(self.client.plan.parallel, count))]
        _, late = await asyncio.wait(tasks, timeout=seconds)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
        return self.left + len(late)


async def storm(client: Client, emit: Callable[[str], None]) -> str:
    """Run the storm of a plan: ``warmup_s`` of it uncounted, then ``connections``."""
    plan, blowing = client.plan, Storm(client)
    emit('{"event": "ready", "connections": 0}')
    if plan.warmup_s > 0:
        await blowing.blow(plan.connections, Record(False, NEVER, NEVER), plan.warmup_s)
    cpu_ns = time.process_time_ns()
    emit('{"event": "measuring"}')
    start = now_ns()
    record = Record(False, start, start + int(plan.duration_s * 1e9))
    record.missed = await blowing.blow(plan.connections, record, plan.duration_s)
    cpu_ns = time.process_time_ns() - cpu_ns
    emit('{"event": "measured"}')
    record.end = min(record.end, now_ns())
    connects_per_s = len(record.latency) / ((record.end - record.start) / 1e9)
    return record.result(cpu_ns / 1e9, connects_per_s=connects_per_s)
