"""Gateways whose truth is known: an honest relay, its twin, and relays with one small planted flaw each.

``python -m crossfade.harness.planted FLAW PORT UPSTREAM`` relays HTTP to the fleet, one upstream connection for each
client's, and is measured like any gateway of a user's. The rule: whatever the flaw, the same code runs for every call,
so that a flaw is the only difference.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import itertools
import math
import statistics
import sys
import time
from collections import deque
from collections.abc import Callable
from urllib.parse import urlsplit

import msgspec

from crossfade.harness.gateways import Gateway

HONEST = "honest"


class Planted(msgspec.Struct, frozen=True, kw_only=True):
    """A relay, the scenario in which it has to be told apart, and what it is."""

    name: str
    scenario: str
    what: str


PLANTS = (
    Planted(name="twin", scenario="gateway-echo", what="the same relay under a second name"),
    Planted(name="slow", scenario="gateway-echo", what="4 % more work of its own in every call"),
    Planted(name="twin", scenario="gateway-latency", what="the same relay under a second name"),
    Planted(name="tail", scenario="gateway-latency", what="every 50th answer waits for ten milliseconds"),
)
SLOWER = 0.04
"""To be looked for is a slow-down by 5 %, and a longer call costs more than its own work: whoever waits for it sleeps,
and has to be woken. How much it was in all stands in the trials and in the report, beside the share that was found.
"""
TAIL_EVERY, TAIL_S = 50, 0.010
COLLECT_EVERY = 8


def gateways(scenario: str | None = None) -> list[Gateway]:
    """The honest relay first, then those of a scenario (default: of all)."""
    names = [HONEST, *(p.name for p in PLANTS if scenario in (None, p.scenario))]
    module = f"{sys.executable} -m crossfade.harness.planted"
    return [Gateway(name=n, command=f"{module} {n} {{port}} {{upstream}}") for n in dict.fromkeys(names)]


class Relay:
    """What all connections of a relay share, and what a flaw changes: ``asked`` and ``answered`` see every call."""

    def __init__(self, upstream: str) -> None:
        parts = urlsplit(upstream)
        self.host, self.port = parts.hostname or "127.0.0.1", parts.port or 80
        self.calls = 0
        self.closed = 0

    def connected(self, client: Client) -> None:
        """A client is there."""

    def asked(self, request: bytes, client: Client) -> bytes | None:
        """Before a call goes upstream; what is returned is the answer, and the call goes nowhere."""
        return None

    def answered(self, request: bytes, answer: bytes, client: Client) -> None:
        """An answer is there and goes to the client."""
        client.write(answer)


class Circling(Relay):
    """Turns in a circle for ``share`` of its own processor time of every call; an honest one for none of it.

    What a call needs is read from the processor's clock over every 128 of them, those apart in which somebody
    connected. What a step of a turn needs is read among them, where it is taken (alone, a processor that shares a core
    with another is faster): every 16th turn and an empty one beside it are timed by the wall, whose clock costs little
    to read, and the mean of the last ones counts, without the longest, in which somebody else had the processor. The
    honest one does all of that as well, and both follow a machine that changes its speed.
    """

    EVERY, CLOCKED, KEPT, LONGEST, STEP = 128, 16, 64, 200_000, 0.25
    INTERRUPTED = 1 / 16

    def __init__(self, upstream: str, share: float = 0.0) -> None:
        super().__init__(upstream)
        self.share = share
        self.length = 100 if share else 0
        self._wanted = float(self.length)
        self._asked = 0
        self._steps_ns: deque[float] = deque(maxlen=self.KEPT)
        self._since_ns = time.process_time_ns()
        self._disturbed = False

    def connected(self, client: Client) -> None:
        """A connection costs what no call does."""
        self._disturbed = True

    def asked(self, request: bytes, client: Client) -> bytes | None:
        """Turn."""
        self._asked += 1
        if self._asked % self.CLOCKED:
            circle(self.length)
        else:
            begin_ns = time.perf_counter_ns()
            circle(0)
            between_ns = time.perf_counter_ns()
            circle(self.length)
            turn_ns = time.perf_counter_ns() - between_ns - (between_ns - begin_ns)
            self._steps_ns.append(turn_ns / max(1, self.length))
        if self._asked % self.EVERY == 0:
            self._adjust()
        return None

    def _adjust(self) -> None:
        now_ns = time.process_time_ns()
        if not self._disturbed:
            whole = sorted(self._steps_ns)[: math.ceil(len(self._steps_ns) * (1 - self.INTERRUPTED))]
            step_ns = max(0.1, statistics.fmean(whole))
            call_ns = (now_ns - self._since_ns) / self.EVERY - self.length * step_ns
            self._wanted += self.STEP * (self.share * call_ns / step_ns - self._wanted)
            self.length = max(min(1, self.length), min(self.LONGEST, round(self._wanted)))
        self._since_ns, self._disturbed = now_ns, False


def circle(length: int) -> None:
    """Work that grows with ``length`` and has no other effect."""
    # Not even an allocation: those of a range cost twice as much whenever they straddle two pools of the allocator.
    for _ in itertools.repeat(None, length):
        pass


class Tail(Circling):
    """Keeps every fiftieth answer for a moment. The others never wait for it."""

    def answered(self, request: bytes, answer: bytes, client: Client) -> None:
        """Now or later."""
        self.calls += 1
        if self.calls % TAIL_EVERY:
            client.write(answer)
        else:
            asyncio.get_running_loop().call_later(TAIL_S, client.write, answer)


FLAWS: dict[str, Callable[[str], Relay]] = {
    HONEST: Circling,
    "twin": Circling,
    "slow": functools.partial(Circling, share=SLOWER),
    "tail": Tail,
}


class Framed(asyncio.Protocol):
    """Bytes that come in messages framed by their length."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self._buffer = b""
        self._whole = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember the transport."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - a TCP connection's is
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Hand on whole messages."""
        self._buffer += data
        while self._buffer:
            if not self._whole and not (whole := length(self._buffer)):
                return
            self._whole = self._whole or whole
            if len(self._buffer) < self._whole:
                return
            message, self._buffer, self._whole = self._buffer[: self._whole], self._buffer[self._whole :], 0
            self.message(message)

    def message(self, message: bytes) -> None:
        """One whole message."""
        raise NotImplementedError

    def write(self, message: bytes) -> None:
        """Send, if there is anybody left."""
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write(message)

    def close(self) -> None:
        """Close."""
        if self.transport is not None:
            self.transport.close()


def length(buffer: bytes) -> int:
    """Of the message that begins here, head and body; 0 if its head is not whole."""
    end = buffer.find(b"\r\n\r\n")
    if end < 0:
        return 0
    head = buffer[:end].lower()
    at = head.find(b"\r\ncontent-length:")
    if at < 0:
        return end + 4
    return end + 4 + int(head[at + 17 :].partition(b"\r\n")[0])


class Upstream(Framed):
    """The fleet's side of one client."""

    def __init__(self, client: Client) -> None:
        super().__init__()
        self.client = client

    def message(self, message: bytes) -> None:
        """An answer."""
        self.client.answer(message)

    def connection_lost(self, error: Exception | None) -> None:
        """The client learns it."""
        self.client.close()


class Client(Framed):
    """One client, whose requests go upstream one after another."""

    def __init__(self, relay: Relay) -> None:
        super().__init__()
        self.relay = relay
        self._waiting: list[bytes] = []
        self._request = b""
        self._up: Upstream | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Connect its upstream."""
        super().connection_made(transport)
        self.relay.connected(self)
        self._connecting = asyncio.ensure_future(self._connect())

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            _, up = await loop.create_connection(lambda: Upstream(self), self.relay.host, self.relay.port)
        except OSError:
            self.close()
            return
        self._up = up
        for request in self._waiting:
            self.message(request)

    def message(self, message: bytes) -> None:
        """A request."""
        if self._up is None:
            self._waiting.append(message)
            return
        self._request = message
        if b'"tools/call"' in message and (answer := self.relay.asked(message, self)) is not None:
            self.write(answer)
        elif self.transport is not None and not self.transport.is_closing():
            self._up.write(message)

    def answer(self, message: bytes) -> None:
        """What the fleet says to the request under way."""
        if b'"tools/call"' in self._request:
            self.relay.answered(self._request, message, self)
        else:
            self.write(message)

    def connection_lost(self, error: Exception | None) -> None:
        """Nobody is left to answer."""
        if self._up is not None:
            self._up.close()
            self._up = None
        self.relay.closed += 1
        if self.relay.closed % COLLECT_EVERY == 0:
            gc.collect()


async def serve(relay: Relay, port: int) -> None:
    """Listen until ended."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Client(relay), "127.0.0.1", port)
    # Only a closed connection leaves cycles (its transports know themselves), and a collection in the middle of a block
    # whose connections stay would be noise. Where they come and go, they are collected, or this relay would leak.
    gc.freeze()
    gc.disable()
    print("listening", flush=True)  # noqa: T201 - for whoever starts it by hand and waits
    await server.serve_forever()


def main() -> None:
    """FLAW PORT UPSTREAM; ``slow=0.5`` plants another share."""
    name, port, upstream = sys.argv[1:]
    flaw, _, amount = name.partition("=")
    relay = Circling(upstream, float(amount)) if amount else FLAWS[flaw](upstream)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve(relay, int(port)))


if __name__ == "__main__":
    main()
