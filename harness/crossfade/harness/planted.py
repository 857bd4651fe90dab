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
    Planted(name="slow", scenario="gateway-echo", what="5 % more processor time per call"),
    Planted(name="twin", scenario="gateway-latency", what="the same relay under a second name"),
    Planted(name="tail", scenario="gateway-latency", what="every 50th answer waits for ten milliseconds"),
)
SLOWER = 0.05
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
    """Turns in a circle, so that a call costs ``share`` more processor time than it would; an honest one never turns.

    How long a turn has to be, its own effect says: spells of ``SPELL`` calls without a turn and spells with one of
    twice the length follow each other, and the clock that the ruler reads tells what either cost. The effect holds all
    that a longer call brings with it (whoever waits for it sleeps, and has to be woken), and it follows a machine that
    changes its speed. Effect grows with length, so that the last pairs of spells together say how much one step does;
    a quarter of them at either end is left out, in which somebody else had the processor. The honest one does all of
    that, too, with turns of no length.
    """

    SPELL, KEPT, FEW, FIRST, LONGEST = 128, 512, 16, 100.0, 200_000.0

    def __init__(self, upstream: str, share: float = 0.0, clock: Callable[[], int] = time.process_time_ns) -> None:
        super().__init__(upstream)
        self.share = share
        self.length = self.FIRST if share else 0.0
        self._clock = clock
        self._steps: deque[tuple[float, int]] = deque(maxlen=self.KEPT)
        self._pairs = self._calls = self._turn = self._without_ns = 0
        self._since_ns = clock()
        self._disturbed = False

    def connected(self, client: Client) -> None:
        """A connection costs what no call does."""
        self._disturbed = True

    def asked(self, request: bytes, client: Client) -> bytes | None:
        """Turn, in every second spell."""
        circle(self._turn)
        self._calls += 1
        if self._calls == self.SPELL:
            self._without_ns, self._turn = self._clock() - self._since_ns, round(2 * self.length)
            self._since_ns += self._without_ns
        elif self._calls == 2 * self.SPELL:
            self._paired()
        return None

    def _paired(self) -> None:
        with_ns = self._clock() - self._since_ns
        if not self._disturbed and self._without_ns > 0:
            self._steps.append((with_ns / self._without_ns - 1, self._turn))
            self._pairs += 1
            if self._pairs % self.FEW == 0:
                self._adjust()
        self._turn = self._calls = 0
        self._since_ns, self._disturbed = self._clock(), False

    def _adjust(self) -> None:
        by_step = sorted(self._steps, key=lambda pair: pair[0] / max(1, pair[1]))
        cut = len(by_step) // 4
        effect, steps = map(math.fsum, zip(*by_step[cut : len(by_step) - cut], strict=True))
        # In a first moment of noise an effect may be none, or less.
        most = min(self.LONGEST, 2 * self.length)
        self.length = min(most, self.share * steps / effect) if effect > 0 else most


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
