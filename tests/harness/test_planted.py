"""The planted gateways are what they say: a share of their own time, a tail and no more, and otherwise one relay."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable

import pytest

from crossfade.harness import planted
from crossfade.harness.planted import Circling, Client, Framed, Relay, Tail


def spent(calls: int, step: Callable[[], object]) -> float:
    begin = time.process_time_ns()
    for _ in range(calls):
        step()
    return (time.process_time_ns() - begin) / calls


@pytest.mark.parametrize("share", [0.05, 0.5])
def test_the_slow_one_turns_for_its_share_of_whatever_a_call_costs(share: float) -> None:
    relay, honest = Circling("http://127.0.0.1:1/", share), Circling("http://127.0.0.1:1/")
    client = Client(relay)

    def call(relay: Relay = relay) -> None:
        planted.circle(3_000)
        relay.asked(b"", client)

    spent(8_000, call)
    # A busy machine is unlike from one moment to the next: the median of many neighbouring pairs.
    ratios = []
    for _ in range(61):
        slow = spent(256, call)
        # Calls that nobody turns for must not count for the next measurement of a call's cost.
        relay._disturbed = True
        ratios.append(slow / spent(256, lambda: call(honest)))
        relay._disturbed = True
    assert statistics.median(ratios) - 1 == pytest.approx(share, abs=0.03 + 0.15 * share)


def test_the_honest_one_runs_the_same_code_and_turns_for_nothing() -> None:
    """Or the slow one would be slower by more than its share."""
    relay = planted.FLAWS[planted.HONEST]("http://127.0.0.1:1/")
    assert type(relay) is type(planted.FLAWS["slow"]("http://127.0.0.1:1/"))
    for _ in range(4 * Circling.EVERY):
        relay.asked(b"", Client(relay))
    assert isinstance(relay, Circling)
    assert relay.length == 0


def test_a_connection_is_no_part_of_what_a_call_costs() -> None:
    relay = Circling("http://127.0.0.1:1/", 0.5)
    client = Client(relay)
    for _ in range(4 * relay.EVERY):
        relay.connected(client)
        relay.asked(b"", client)
    assert relay.length == 100


class Told(Client):
    """A client that keeps what it is sent."""

    def __init__(self, relay: Relay) -> None:
        super().__init__(relay)
        self.sent: list[bytes] = []

    def write(self, message: bytes) -> None:
        self.sent.append(message)


def test_the_tail_keeps_every_fiftieth_answer_and_nobody_waits_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planted, "TAIL_S", 0.0)

    async def hundred() -> tuple[list[bytes], list[bytes]]:
        relay = Tail("http://127.0.0.1:1/")
        client = Told(relay)
        for number in range(100):
            relay.answered(b"", b"%d" % number, client)
        at_once = list(client.sent)
        loop = asyncio.get_running_loop()
        done = loop.create_future()
        # Timers of one moment run in the order in which they were set.
        loop.call_later(planted.TAIL_S, done.set_result, None)
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
    assert {g.name for g in planted.gateways()} == planted.FLAWS.keys()
    assert planted.FLAWS[planted.HONEST] is planted.FLAWS["twin"] is Circling
