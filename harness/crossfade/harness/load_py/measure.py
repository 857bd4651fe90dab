"""A measured run: settle the connections, warm up, measure, drain.

The rule is that of the native generator: due times come from the seed alone, and whatever waits counts. Timers of an
event loop are coarse (a millisecond): ``lag`` shows how coarse.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import deque
from collections.abc import Callable

from crossfade.harness.load_py.client import Client, now_ns
from crossfade.harness.load_py.connection import Connection
from crossfade.harness.load_py.record import NEVER, Record
from crossfade.harness.load_py.worker import Worker


class Run:
    """One run: a task for each connection, and for an open loop one that draws arrivals into their line."""

    def __init__(self, client: Client, emit: Callable[[str], None]) -> None:
        self.client, self.emit = client, emit
        self.draws = random.Random(~client.plan.seed)  # noqa: S311 - load, not secrets
        self.line: deque[int] = deque()
        self.due = asyncio.Event()
        self.busy = 0
        self.resting = False

    async def next_due(self) -> int:
        """When the request that waited longest was due; waits for one."""
        while not self.line:
            self.due.clear()
            await self.due.wait()
        return self.line.popleft()

    async def _arrivals(self, begin: int, record: Record) -> None:
        mean, offset, index = 1e9 / (self.client.plan.rate_per_s or 1.0), 0.0, 0
        while True:
            index += 1
            constant = self.client.plan.arrivals == "constant"
            offset = index * mean if constant else offset + self.draws.expovariate(1 / mean)
            due = begin + int(offset)
            if due >= record.end:
                return
            if (wait := due - now_ns()) > 0:
                await asyncio.sleep(wait / 1e9)
            if record.measured(due):
                record.lag.append(max(0, now_ns() - due))
            self.line.append(due)
            self.due.set()

    async def measure(self) -> str:
        """Settle, warm up, measure, drain."""
        plan = self.client.plan
        conns = await self.client.settle(plan.connections)
        self.emit(json.dumps({"event": "ready", "connections": len(conns)}))
        begin = now_ns()
        start = begin + int(plan.warmup_s * 1e9)
        record = Record(plan.mode == "open", start, start + int(plan.duration_s * 1e9))
        tasks = [asyncio.create_task(Worker(self, conn, record).work()) for conn in conns]
        # The last task ends by itself: when all due times have come.
        tasks.append(asyncio.create_task(self._arrivals(begin, record) if record.open else asyncio.sleep(0)))
        await asyncio.sleep((start - now_ns()) / 1e9)
        cpu_ns = time.process_time_ns()
        self.emit('{"event": "measuring"}')
        await asyncio.sleep((record.end - now_ns()) / 1e9)
        cpu_ns = time.process_time_ns() - cpu_ns
        self.emit('{"event": "measured"}')
        await self._end(record, tasks, now_ns() + int(plan.drain_s * 1e9))
        return record.result(cpu_ns / 1e9)

    async def burst(self) -> str:
        """Warm up in a closed loop, come to rest, then all at once; the window ends with the last answer."""
        plan = self.client.plan
        conns = await self.client.settle(plan.connections)
        self.emit(json.dumps({"event": "ready", "connections": len(conns)}))
        if plan.warmup_s > 0:
            conns = await self._warm(conns)
        cpu_ns = time.process_time_ns()
        self.emit('{"event": "measuring"}')
        start = now_ns()
        # Processor time is that of all answers: the window lasts as long as they do.
        record = Record(True, start, start + int((plan.duration_s + plan.drain_s) * 1e9))
        self.line.extend([start] * plan.burst)
        tasks = [asyncio.create_task(Worker(self, conn, record).work()) for conn in conns]
        tasks.append(asyncio.create_task(asyncio.sleep(0)))
        record.lag += [max(0, now_ns() - start)] * plan.burst
        # A poll, because nothing on the request path should pay for a signal.
        while now_ns() < record.end and record.over() < plan.burst:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        cpu_ns = time.process_time_ns() - cpu_ns
        self.emit('{"event": "measured"}')
        record.end = min(record.end, now_ns())
        await self._end(record, tasks, record.end)
        return record.result(cpu_ns / 1e9, drain_ms=record.drain_ms())

    async def _warm(self, conns: list[Connection]) -> list[Connection]:
        record = Record(False, NEVER, NEVER)
        workers = [Worker(self, conn, record) for conn in conns]
        tasks = [asyncio.create_task(worker.work()) for worker in workers]
        await asyncio.sleep(self.client.plan.warmup_s)
        self.resting = True
        await asyncio.gather(*tasks)
        self.resting = False
        return [worker.conn for worker in workers if worker.conn is not None]

    async def _end(self, record: Record, tasks: list[asyncio.Task[None]], latest: int) -> None:
        """An open loop may still send what was due and be answered until ``latest``; what is left then is counted."""
        # Until drained: a poll, because nothing on the request path should pay for a signal.
        while record.open and now_ns() < latest and (self.line or self.busy or not tasks[-1].done()):  # noqa: ASYNC110
            await asyncio.sleep(0.002)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        record.missed = sum(map(record.measured, self.line))
