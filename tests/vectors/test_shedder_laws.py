"""The laws at the top of ``cores/shedder.py``, and what they are for: a queue that stays short under overload."""

from __future__ import annotations

from collections import deque
from itertools import pairwise
from math import sqrt

from hypothesis import given
from hypothesis import strategies as st

from crossfade.impls.config import ShedSpec
from crossfade.impls.cores import ShedConfig, Shedder

MS = 1_000_000
CONFIGS = st.builds(
    ShedConfig,
    max_in_flight=st.sampled_from([0, 3]),
    target_ns=st.integers(1, 5),
    interval_ns=st.integers(1, 30),
)
EVENTS = st.lists(
    st.tuples(st.integers(0, 6), st.one_of(st.none(), st.integers(0, 8), st.integers(5, 8)), st.integers(0, 4)),
    max_size=150,
)


def standing_since(config: ShedConfig, waits: list[tuple[int, int]], now_ns: int) -> int:
    """Since when all waits have reached the target, with no interval in which none ended: the evidence of law 2."""
    since = now_ns
    for at, delay_ns in reversed(waits):
        if delay_ns < config.target_ns or since - at >= config.interval_ns:
            break
        since = at
    return since


@given(config=CONFIGS, events=EVENTS)
def test_only_a_standing_queue_or_a_full_house_sheds(
    config: ShedConfig, events: list[tuple[int, int | None, int]]
) -> None:
    """Each event: time passes; a wait of so long ends, or (None) somebody asks while so many are in."""
    shedder, now_ns = Shedder(config), 0
    waits: list[tuple[int, int]] = []
    for elapsed, delay_ns, in_flight in events:
        now_ns += elapsed
        if delay_ns is not None:
            shedder.waited(now_ns, delay_ns)
            waits.append((now_ns, delay_ns))
            continue
        admitted = shedder.admit(now_ns, in_flight)
        if config.max_in_flight and in_flight >= config.max_in_flight:
            assert not admitted, "law 1"
        elif not admitted:
            assert now_ns - standing_since(config, waits, now_ns) >= config.interval_ns, "law 2"


@given(config=CONFIGS, sheds=st.integers(2, 40))
def test_the_pace_of_shedding_rises_with_the_root_of_what_was_shed(config: ShedConfig, sheds: int) -> None:
    """Asked every nanosecond, with long waits throughout: the times of the sheds are the control law's."""
    interval = config.interval_ns * 50
    shedder = Shedder(ShedConfig(target_ns=config.target_ns, interval_ns=interval))
    shed_at: list[int] = []
    for now_ns in range(interval * 60):
        shedder.waited(now_ns, config.target_ns)
        if not shedder.admit(now_ns, 0):
            shed_at.append(now_ns)
            if len(shed_at) > sheds:
                break
    assert shed_at[0] == interval
    for number, (before, after) in enumerate(pairwise(shed_at), 1):
        assert abs(after - before - interval / sqrt(number)) <= 1 + interval / 2000


@given(sheds=st.integers(3, 30), idle=st.sampled_from([0, 5, 14, 18, 40]))
def test_the_pace_is_kept_for_sixteen_intervals(sheds: int, idle: int) -> None:
    interval = 1000
    shedder = Shedder(ShedConfig(target_ns=5, interval_ns=interval))
    now_ns = shed = 0
    pauses: list[list[int]] = [[], []]
    for pause in pauses:
        while shed < sheds:
            shedder.waited(now_ns, 5)
            if not shedder.admit(now_ns, 0):
                shed += 1
                pause.append(now_ns)
            now_ns += 1
        shed = sheds - 2
        shedder.waited(now_ns, 0)
        now_ns += idle * interval
    again = pauses[1][1] - pauses[1][0]
    # The first time counted to `sheds`, from 1; it goes on with what it gained, sheds - 1.
    gained = sheds - 1 if idle < 16 else 1
    assert abs(again - interval / sqrt(gained)) <= 2


def simulate(shedder: Shedder, *, arrivals_ns: int, service_ns: int, seconds: int) -> list[tuple[int, int]]:
    """One place, open-loop arrivals: when each admitted request began to be served, and how long it had waited."""
    queue: deque[int] = deque()
    served: list[tuple[int, int]] = []
    free_at = 0
    for now_ns in range(0, seconds * 1000 * MS, arrivals_ns):
        while queue and free_at <= now_ns:
            begin = max(free_at, queue[0])
            wait_ns = begin - queue.popleft()
            shedder.waited(begin, wait_ns)
            served.append((begin, wait_ns))
            free_at = begin + service_ns
        if shedder.admit(now_ns, len(queue)):
            queue.append(now_ns)
    return served


def test_a_lasting_overload_ends_with_short_waits() -> None:
    """A fifth more comes than can be served: without a door, waits would grow to ten seconds within the minute."""
    door = Shedder(ShedConfig(target_ns=5 * MS, interval_ns=100 * MS))
    late = [
        wait for at, wait in simulate(door, arrivals_ns=10 * MS, service_ns=12 * MS, seconds=60) if at > 30_000 * MS
    ]
    open_door = Shedder(ShedConfig())
    never = [wait for _, wait in simulate(open_door, arrivals_ns=10 * MS, service_ns=12 * MS, seconds=60)]
    assert max(never) > 9_000 * MS
    assert sum(late) / len(late) < 100 * MS
    assert len(late) > 0.9 * 30_000 / 12, "shed so much that the server idles"


def test_a_burst_and_a_load_that_fits_shed_nothing() -> None:
    door = Shedder(ShedConfig(target_ns=5 * MS, interval_ns=100 * MS))
    served = simulate(door, arrivals_ns=13 * MS, service_ns=12 * MS, seconds=10)
    assert len(served) >= 10_000 // 13
    assert not door.shedding


def test_a_specification_means_what_it_says() -> None:
    spec = ShedSpec(max_in_flight=9, target_ms=5, interval_ms=50)
    assert ShedConfig.from_spec(spec) == ShedConfig(9, 5 * MS, 50 * MS)
