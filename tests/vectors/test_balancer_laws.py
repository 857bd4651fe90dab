"""What the balancers are for: turns are even, load goes where it is served fastest, the broken attract nothing."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from crossfade.impls.cores import P2C, Balancer, RoundRobin, SplitMix64
from crossfade.impls.cores.balancer import DECAY_NS

MS = 1_000_000
SIZES = st.integers(1, 130)


def mask(n: int) -> int:
    return (1 << n) - 1


@given(n=SIZES, usable=st.integers(0, (1 << 130) - 1), seed=st.integers(0, 2**64 - 1))
def test_only_a_usable_instance_is_ever_picked(n: int, usable: int, seed: int) -> None:
    balancers: tuple[Balancer, ...] = (RoundRobin(n), P2C(n, seed))
    for balancer in balancers:
        for _ in range(5):
            i = balancer.pick(0, usable)
            assert (i == -1) == (usable & mask(n) == 0)
            assert i == -1 or (i < n and usable >> i & 1)


@given(n=SIZES, usable=st.integers(1, (1 << 130) - 1))
def test_round_robin_serves_every_usable_instance_once_a_turn(n: int, usable: int) -> None:
    usable = usable & mask(n) or 1
    balancer = RoundRobin(n)
    picked = Counter(balancer.pick(0, usable) for _ in range(3 * usable.bit_count()))
    assert set(picked.values()) == {3}


def test_p2c_draws_every_pair_equally_often() -> None:
    """With equal costs the first drawn wins, so each of 5 instances has a fifth: chi-square, 4 degrees, p < 1e-6."""
    balancer = P2C(5, 42)
    draws = 20_000
    picked = Counter(balancer.pick(0, mask(5)) for _ in range(draws))
    chi_square = sum((picked[i] - draws / 5) ** 2 / (draws / 5) for i in range(5))
    assert chi_square < 35


def simulate(latencies_ns: list[int], calls: int, failing: int | None = None) -> Counter[int]:
    """Open-loop arrivals every 100 us into a P2C balancer; how many calls each instance got."""
    balancer = P2C(len(latencies_ns), 7)
    ending: list[tuple[int, int]] = []
    picked: Counter[int] = Counter()
    for call in range(calls):
        now_ns = call * 100_000
        for end in [e for e in ending if e[0] <= now_ns]:
            ending.remove(end)
            balancer.finished(end[1], end[0], latencies_ns[end[1]], end[1] != failing)
        i = balancer.pick(now_ns, mask(len(latencies_ns)))
        balancer.started(i)
        picked[i] += 1
        ending.append((now_ns + latencies_ns[i], i))
    return picked


def test_p2c_prefers_the_fast_without_starving_anybody() -> None:
    picked = simulate([1 * MS, 1 * MS, 1 * MS, 10 * MS], 4000)
    assert picked[3] < 0.1 * 4000
    assert picked[3] > 0
    assert max(picked[i] for i in range(3)) < 1.5 * min(picked[i] for i in range(3))


def test_an_instance_that_fails_within_microseconds_does_not_attract_the_traffic() -> None:
    picked = simulate([1 * MS, 1 * MS, 50_000], 4000, failing=2)
    assert picked[2] < 0.1 * 4000


def test_a_new_instance_is_not_flooded_before_its_first_answer() -> None:
    balancer = P2C(2, 3)
    balancer.finished(0, 0, 1 * MS, True)
    balancer.started(0)
    picked = []
    for _ in range(10):
        i = balancer.pick(0, mask(2))
        balancer.started(i)
        picked.append(i)
    assert picked.count(1) == 1


def test_a_slow_answer_is_forgiven_after_the_decay_time() -> None:
    balancer = P2C(2, 3)
    balancer.finished(0, 0, 60_000 * MS, True)
    balancer.finished(1, DECAY_NS // 2, 1 * MS, True)
    assert {balancer.pick(DECAY_NS // 2, mask(2)) for _ in range(10)} == {1}
    assert {balancer.pick(DECAY_NS, mask(2)) for _ in range(10)} == {0}


@given(
    seed=st.integers(0, 2**64 - 1),
    answers=st.lists(st.tuples(st.integers(0, 2**33), st.integers(0, 2**42), st.booleans())),
)
def test_the_estimate_lies_between_the_sample_and_what_it_was(seed: int, answers: list[tuple[int, int, bool]]) -> None:
    balancer = P2C(1, seed)
    now_ns = 0
    for elapsed, latency_ns, ok in answers:
        now_ns += elapsed
        before = balancer.ewma_ns(0)
        balancer.finished(0, now_ns, latency_ns, ok)
        after = balancer.ewma_ns(0)
        assert 1 <= after <= 1 << 40
        if ok:
            sample = min(max(latency_ns, 1), 1 << 40)
            assert min(before, sample) <= after <= max(before, sample)
        else:
            assert after >= before


@given(seed=st.integers(0, 2**64 - 1), n=st.integers(1, 2**64 - 1))
def test_below_stays_below(seed: int, n: int) -> None:
    assert 0 <= SplitMix64(seed).below(n) < n
