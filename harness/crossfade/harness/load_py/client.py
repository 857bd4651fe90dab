"""The generator's side of the protocol: handshake, request, verdict, and what is given up on purpose.

The rule: every request that was sent ends in exactly one verdict. Giving up is no error: a modern request is given up
by closing its connection; a legacy server is told by a notification on another one, and then the first is closed.
"""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass

import httptools

from crossfade.harness.load_py.connection import Connection
from crossfade.harness.load_py.judge import judge
from crossfade.harness.load_py.plan import Plan
from crossfade.harness.load_py.questions import Questions, notification

OPENING = 64
"""At most so many connections are being opened at once, to stay within the listener's backlog."""
now_ns = time.monotonic_ns


@dataclass(frozen=True)
class Verdict:
    """How a request ended: when it was sent, the kind of error or None, the method, the progress that was told."""

    sent: int
    kind: str | None
    method: str = "call"
    events: int = 0


class Client:
    """Opens connections for a plan and sends its requests on them."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.questions = Questions(plan)
        self.opened = 0
        self.cancels = random.Random(plan.seed ^ 0xC3C3)  # noqa: S311 - load, not secrets

    async def open(self, place: int | None = None) -> Connection:
        """A connection that can send, to the next target or to that of ``place``.

        Raises OSError or ValueError (a refused handshake).
        """
        if place is None:
            place, self.opened = self.opened, self.opened + 1
        conn = await self._connect(place)
        if self.plan.era == "legacy":
            try:
                await self._begin(conn)
            except BaseException:
                conn.abort()
                raise
        return conn

    async def _connect(self, place: int) -> Connection:
        host, port = self.plan.targets[place % len(self.plan.targets)]
        _, conn = await asyncio.get_running_loop().create_connection(Connection, host, port)
        conn.place, conn.host = place, f"{host}:{port}"
        return conn

    async def _begin(self, conn: Connection) -> None:
        """A legacy session on a connection."""
        status, _ = await conn.ask(self.questions.initialize(conn.host))
        if status != 200:
            raise ConnectionError(f"http_{status}")
        conn.name, conn.calls = conn.session, 0
        await conn.ask(self.questions.legacy(conn.name, notification("initialized"), conn.host))

    async def renew(self, conn: Connection) -> None:
        """End the session and begin another. Raises OSError, TimeoutError."""
        session = f"Mcp-Session-Id: {conn.name}\r\n"
        await conn.ask(self.questions.post(conn.host, session, b"", method="DELETE"))
        await self._begin(conn)

    async def request(self, conn: Connection) -> Verdict:
        """Send one request and judge its answer."""
        question = self.questions.draw()
        conn.ident = question.ident
        if self.plan.era == "modern":
            data = self.questions.modern(question, conn.host)
        else:
            data = self.questions.legacy(conn.name, question.body, conn.host)
        plan = self.plan
        drawn = plan.cancel_per_mille and self.cancels.randrange(1000) < plan.cancel_per_mille
        patience, given_up = plan.timeout_s, TimeoutError("timeout")
        if drawn and plan.cancel_after_ms / 1000 < patience:
            patience, given_up = plan.cancel_after_ms / 1000, TimeoutError("cancelled")
        sent = now_ns()
        try:
            # wait_for would cost a task; a timer that fails the future does not.
            answer = conn.ask(data)
            timer = asyncio.get_running_loop().call_later(patience, conn.fail, given_up)
            try:
                status, found = await answer
            finally:
                timer.cancel()
        except TimeoutError as error:
            return Verdict(sent, "cancelled" if error is given_up and str(error) == "cancelled" else "timeout")
        except OSError:
            return Verdict(sent, "reset")
        except httptools.HttpParserError:
            return Verdict(sent, "garbage")
        conn.calls += 1
        kind, events = judge(status, found, question, conn.notes)
        return Verdict(sent, kind, question.method, events)

    async def give_up(self, conn: Connection) -> Connection:
        """After a request was cancelled: tell the server, and a connection to go on with. Raises as ``open``."""
        if self.plan.era == "modern":
            conn.abort()
            return await self._connect(conn.place)
        fresh = await self._connect(conn.place)
        fresh.name, fresh.calls = conn.name, conn.calls
        try:
            # Closed only then: a lost connection alone must not be taken for a cancellation.
            body = notification("cancelled", requestId=conn.ident, reason="not wanted any more")
            status, _ = await fresh.ask(self.questions.legacy(fresh.name, body, fresh.host))
            if not 200 <= status < 300:
                raise ConnectionError(f"http_{status}")  # noqa: TRY301 - ends as any other failure here
        except BaseException:
            fresh.abort()
            raise
        finally:
            conn.abort()
        return fresh

    async def settle(self, count: int) -> list[Connection]:
        """Open ``count`` connections. Raises RuntimeError if they do not come up in time."""
        deadline = now_ns() + int(self.plan.connect_timeout_s * 1e9)
        gate = asyncio.Semaphore(OPENING)

        async def one() -> Connection:
            async with gate:
                place, self.opened = self.opened, self.opened + 1
                while True:
                    try:
                        async with asyncio.timeout(max(0.001, (deadline - now_ns()) / 1e9)):
                            return await self.open(place)
                    except (OSError, TimeoutError) as error:
                        if now_ns() >= deadline:
                            raise RuntimeError(
                                f"not all of {count} connections to {self.plan.whither()} came up within "
                                f"{self.plan.connect_timeout_s:g} s ({error}); is the server running?"
                            ) from error
                        await asyncio.sleep(0.01)

        return list(await asyncio.gather(*(one() for _ in range(count))))
