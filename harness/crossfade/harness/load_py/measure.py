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
from crossfade.harness.load_py.record import Record


class Run:
    """One run: a task for each connection, and for an open loop one that draws arrivals into their line."""

    def __init__(self, client: Client, emit: Callable[[str], None]) -> None:
        self.client, self.emit = client, emit
        self.draws = random.Random(~client.plan.seed)  # noqa: S311 - load, not secrets
        self.line: deque[int] = deque()
        self.due = asyncio.Event()
        self.busy = 0

    async def _worker(self, conn: Connection | None, record: Record) -> None:
        while True:
            due = None
            if record.open:
                while not self.line:
                    self.due.clear()
                    await self.due.wait()
                due = self.line.popleft()
            if conn is None or conn.lost:
                try:
                    # Not wait_for: until 3.12 it can swallow a cancellation that meets a result.
                    async with asyncio.timeout(self.client.plan.timeout_s):
                        conn = await self.client.open()
                except (OSError, TimeoutError):
                    now = now_ns()
                    record.ended(due or now, 0, now, "connect")
                    await asyncio.sleep(0.01)
                    continue
            begin = due or now_ns()
            record.sent += record.measured(begin)
            self.busy += 1
            try:
                sent, kind = await self.client.request(conn)
            except asyncio.CancelledError:
                if record.open:
                    record.ended(begin, begin, record.end + 1, "timeout")
                raise
            finally:
                self.busy -= 1
            record.ended(due or sent, sent, now_ns(), kind)
            if kind in {"timeout", "reset", "garbage"} or (kind == "http_404" and conn.head):
                conn.abort()
                conn = None

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
        tasks = [asyncio.create_task(self._worker(conn, record)) for conn in conns]
        # The last task ends by itself: when all due times have come.
        tasks.append(asyncio.create_task(self._arrivals(begin, record) if record.open else asyncio.sleep(0)))
        await asyncio.sleep((start - now_ns()) / 1e9)
        cpu_ns = time.process_time_ns()
        self.emit('{"event": "measuring"}')
        await asyncio.sleep((record.end - now_ns()) / 1e9)
        cpu_ns = time.process_time_ns() - cpu_ns
        self.emit('{"event": "measured"}')
        if record.open:
            end = now_ns() + int(plan.drain_s * 1e9)
            # Until drained: a poll, because nothing on the request path should pay for a signal.
            while now_ns() < end and (self.line or self.busy or not tasks[-1].done()):  # noqa: ASYNC110
                await asyncio.sleep(0.005)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        record.missed = sum(map(record.measured, self.line))
        for conn in conns:
            conn.abort()
        return record.result(cpu_ns / 1e9)
