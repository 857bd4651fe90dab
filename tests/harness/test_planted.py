"""The planted gateways are what they say: a share of their own time, a tail and no more, and otherwise one relay."""

from __future__ import annotations

import asyncio
import random
import statistics
import time
from collections.abc import Callable

import pytest

from crossfade.harness.planted import HONEST, flaws, gateways
from crossfade.harness.planted.flaws import FLAWS, Circling, Tail
from crossfade.harness.planted.relay import Client, Framed, Relay

UPSTREAM = "http://127.0.0.1:1/"


def spent(calls: int, step: Callable[[], object]) -> float:
    begin = time.process_time_ns()
    for _ in range(calls):
        step()
    return (time.process_time_ns() - begin) / calls


@pytest.mark.parametrize("share", [0.05, 0.5])
def test_the_slow_one_turns_for_its_share_of_whatever_a_call_costs(share: float) -> None:
    relay, honest = Circling(UPSTREAM, share), Circling(UPSTREAM)
    client, pair = Client(relay), 2 * Circling.SPELL

    def call(relay: Relay = relay) -> None:
        flaws.circle(3_000)
        relay.asked(b"", client)

    spent(64 * pair, call)
    # A busy machine is unlike from one moment to the next: the median of many neighbouring pairs.
    ratios = []
    for _ in range(61):
        slow = spent(pair, call)
        # Calls that nobody turns for must not count for the next measurement of a call's cost.
        relay._since_ns = time.process_time_ns()
        ratios.append(slow / spent(pair, lambda: call(honest)))
        relay._since_ns = time.process_time_ns()
    assert statistics.median(ratios) - 1 == pytest.approx(share, abs=0.03 + 0.15 * share)


class Machine:
    """A processor's clock and what it counts: a step of a turn brings 60 % more with it, a neighbour now and then makes
    a call three times as long, and the speed falls to a half."""

    def __init__(self) -> None:
        self.now_ns = 0
        self._random = random.Random(7)
        self._slowness = 1.0

    def circle(self, length: int) -> None:
        self._spend(1.6 * 9 * length)

    def _spend(self, cost_ns: float) -> None:
        self.now_ns += round(cost_ns * self._slowness)

    def calls(self, relay: Circling, number: int) -> float:
        """Nanoseconds of a call, on average."""
        begin_ns, client = self.now_ns, Client(relay)
        for _ in range(number):
            self._slowness = min(2.0, self._slowness + 1e-5)
            self._spend(20_000 * self._random.uniform(0.5, 1.5) * (3 if self._random.random() < 0.01 else 1))
            relay.asked(b"", client)
        return (self.now_ns - begin_ns) / number


@pytest.mark.parametrize("share", [0.02, 0.05, 0.5])
def test_the_share_holds_all_that_a_longer_call_brings_with_it(share: float, monkeypatch: pytest.MonkeyPatch) -> None:
    def cost_ns(share: float) -> float:
        # Whatever the relay, the machine draws the same.
        machine = Machine()
        monkeypatch.setattr(flaws, "circle", machine.circle)
        relay = Circling(UPSTREAM, share, lambda: machine.now_ns)
        machine.calls(relay, 5_000)
        return machine.calls(relay, 120_000)

    assert cost_ns(share) / cost_ns(0.0) - 1 == pytest.approx(share, rel=0.1)


def test_the_honest_one_runs_the_same_code_and_turns_for_nothing() -> None:
    """Or the slow one would be slower by more than its share."""
    relay = FLAWS[HONEST](UPSTREAM)
    assert type(relay) is type(FLAWS["slow"](UPSTREAM))
    assert isinstance(relay, Circling)
    for _ in range(4 * Circling.FEW * Circling.SPELL):
        relay.asked(b"", Client(relay))
    assert relay.length == 0
    assert len(relay._steps) == 2 * Circling.FEW


def test_a_connection_is_no_part_of_what_a_call_costs() -> None:
    relay = Circling(UPSTREAM, 0.5)
    client = Client(relay)
    for _ in range(4 * Circling.FEW):
        relay.connected(client)
        for _ in range(2 * Circling.SPELL):
            relay.asked(b"", client)
    assert relay.length == Circling.FIRST


class Told(Client):
    """A client that keeps what it is sent."""

    def __init__(self, relay: Relay) -> None:
        super().__init__(relay)
        self.sent: list[bytes] = []

    def write(self, message: bytes) -> None:
        self.sent.append(message)


def test_the_tail_keeps_every_fiftieth_answer_and_nobody_waits_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flaws, "TAIL_S", 0.0)

    async def hundred() -> tuple[list[bytes], list[bytes]]:
        relay = Tail(UPSTREAM)
        client = Told(relay)
        for number in range(100):
            relay.answered(b"", b"%d" % number, client)
        at_once = list(client.sent)
        loop = asyncio.get_running_loop()
        done = loop.create_future()
        # Timers of one moment run in the order in which they were set.
        loop.call_later(flaws.TAIL_S, done.set_result, None)
        await done
        return at_once, client.sent[98:]

    at_once, later = asyncio.run(hundred())
    assert len(at_once) == 98
    assert later == [b"49", b"99"]


class Kept(Framed):
    def __init__(self) -> None:
        super().__init__()
        self.messages: list[bytes] = []

    def message(self, message: bytes) -> None:
        self.messages.append(message)


WIRE = b"POST /mcp HTTP/1.1\r\nContent-Length: 5\r\nx: y\r\n\r\nhelloHTTP/1.1 204 No Content\r\n\r\n"


@pytest.mark.parametrize("cut", [1, 7, 30, len(WIRE)])
def test_messages_are_whole_however_they_arrive(cut: int) -> None:
    kept = Kept()
    for start in range(0, len(WIRE), cut):
        kept.data_received(WIRE[start : start + cut])
    assert kept.messages == [WIRE[: WIRE.index(b"HTTP/1.1 204")], WIRE[WIRE.index(b"HTTP/1.1 204") :]]


def test_every_plant_has_its_relay_and_an_honest_one_beside_it() -> None:
    assert {g.name for g in gateways()} == FLAWS.keys()
    assert FLAWS[HONEST] is FLAWS["twin"] is Circling
