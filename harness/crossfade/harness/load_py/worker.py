"""One connection at work: it takes what is due, sends it, and sees it to its end, over and over.

The rule: a unit of ``chain`` calls is due and sent when its first call is, and ends with its last or the first that
fails. What ends on purpose (a request given up, a session that has had its calls) is no error.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from crossfade.harness.load_py.client import Verdict, now_ns
from crossfade.harness.load_py.connection import Connection
from crossfade.harness.load_py.record import NEVER, Record

if TYPE_CHECKING:
    from crossfade.harness.load_py.measure import Run

BROKEN = frozenset({"timeout", "reset", "garbage"})
"""After these the connection cannot be trusted."""


class Worker:
    """A connection of a run; it is opened again when it is lost."""

    def __init__(self, run: Run, conn: Connection, record: Record) -> None:
        self.run, self.client, self.record = run, run.client, record
        self.conn: Connection | None = conn
        self.place = conn.place

    async def work(self) -> None:
        """Until the run rests or is cancelled."""
        record, run = self.record, self.run
        try:
            while not run.resting:
                due = await run.next_due() if record.open else None
                conn = self.conn
                if conn is None or conn.lost:
                    conn = self.conn = await self._reopened(due)
                    if conn is None:
                        continue
                await self._unit(conn, due)
                await self._churn()
        finally:
            if self.conn is not None and not run.resting:
                self.conn.abort()

    async def _reopened(self, due: int | None) -> Connection | None:
        try:
            # Not wait_for: until 3.12 it can swallow a cancellation that meets a result.
            async with asyncio.timeout(self.client.plan.timeout_s):
                return await self.client.open(self.place)
        except (OSError, TimeoutError):
            await self._refused(due)
            return None

    async def _refused(self, due: int | None) -> None:
        now = now_ns()
        self.record.ended(due or now, 0, now, "connect")
        await asyncio.sleep(0.01)

    async def _unit(self, conn: Connection, due: int | None) -> None:
        record, run = self.record, self.run
        begin = due or now_ns()
        record.sent += record.measured(begin)
        run.busy += 1
        first, events = 0, 0
        try:
            for _ in range(self.client.plan.chain):
                verdict = await self.client.request(conn)
                first = first or verdict.sent
                events += verdict.events
                if verdict.kind:
                    break
        except asyncio.CancelledError:
            if record.open:
                record.ended(begin, begin, NEVER, "timeout")
            raise
        finally:
            run.busy -= 1
        record.ended(due or first, first, now_ns(), verdict.kind, method=verdict.method, events=events)
        await self._after(conn, verdict)

    async def _after(self, conn: Connection, verdict: Verdict) -> None:
        if verdict.kind == "cancelled":
            self.conn = None
            try:
                async with asyncio.timeout(self.client.plan.timeout_s):
                    self.conn = await self.client.give_up(conn)
            except (OSError, TimeoutError):
                await self._refused(None)
        elif verdict.kind in BROKEN or (verdict.kind == "http_404" and conn.name):
            conn.abort()
            self.conn = None

    async def _churn(self) -> None:
        limit, conn = self.client.plan.session_calls, self.conn
        if not limit or conn is None or conn.calls < limit:
            return
        begin = now_ns()
        try:
            async with asyncio.timeout(self.client.plan.timeout_s):
                await self.client.renew(conn)
        except (OSError, TimeoutError):
            conn.abort()
            self.conn = None
            await self._refused(None)
        else:
            self.record.renewed(begin, now_ns())
