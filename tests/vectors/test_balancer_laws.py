"""What the balancers are for: turns are even, load goes where it is served fastest, the broken attract nothing."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from crossfade.impls.cores import P2C, Balancer, LeastPending, Rendezvous, RoundRobin, SplitMix64, Weighted
from crossfade.impls.cores.loads import DECAY_NS

MS = 1_000_000
SIZES = st.integers(1, 130)


def mask(n: int) -> int:
    return (1 << n) - 1


@given(n=SIZES, usable=st.integers(0, (1 << 130) - 1), seed=st.integers(0, 2**64 - 1))
def test_only_a_usable_instance_is_ever_picked(n: int, usable: int, seed: int) -> None:
    balancers: tuple[Balancer, ...] = (
        RoundRobin(n),
        Weighted([1 + i % 4 for i in range(n)]),
        LeastPending(n),
        P2C(n, seed),
        Rendezvous(n),
    )
    for balancer in balancers:
        for _ in range(5):
            i = balancer.pick(0, usable, seed)
            assert (i == -1) == (usable & mask(n) == 0)
            assert i == -1 or (i < n and usable >> i & 1)


@given(n=SIZES, usable=st.integers(1, (1 << 130) - 1))
def test_round_robin_serves_every_usable_instance_once_a_turn(n: int, usable: int) -> None:
    usable = usable & mask(n) or 1
    balancer = RoundRobin(n)
    picked = Counter(balancer.pick(0, usable) for _ in range(3 * usable.bit_count()))
    assert set(picked.values()) == {3}


@given(weights=st.lists(st.integers(0, 9), min_size=1, max_size=12), cycles=st.integers(1, 3))
def test_over_full_cycles_each_instance_gets_exactly_its_weight(weights: list[int], cycles: int) -> None:
    balancer = Weighted(weights)
    picked = Counter(balancer.pick(0, mask(len(weights))) for _ in range(cycles * sum(weights)))
    assert picked == Counter({i: cycles * weight for i, weight in enumerate(weights) if weight})


@given(weights=st.lists(st.integers(1, 9), min_size=2, max_size=8))
def test_no_instance_runs_a_whole_call_ahead_of_its_share(weights: list[int]) -> None:
    """Smoothness: of k picks an instance has had less than its share plus one, and less than n short of it."""
    balancer, total = Weighted(weights), sum(weights)
    picked: Counter[int] = Counter()
    for k in range(1, 2 * total + 1):
        picked[balancer.pick(0, mask(len(weights)))] += 1
        for i, weight in enumerate(weights):
            assert -len(weights) * total < picked[i] * total - k * weight < total


@given(n=SIZES, calls=st.integers(0, 400))
def test_least_pending_never_lets_two_instances_differ_by_more_than_one_call(n: int, calls: int) -> None:
    balancer = LeastPending(n)
    for _ in range(calls):
        balancer.started(balancer.pick(0, mask(n)))
    pending = [balancer.pending(i) for i in range(n)]
    assert max(pending) - min(pending) <= 1


@given(n=st.integers(2, 70), gone=st.integers(0, 69), keys=st.lists(st.integers(0, 2**64 - 1), max_size=60))
def test_only_the_keys_of_an_instance_that_goes_move(n: int, gone: int, keys: list[int]) -> None:
    gone %= n
    balancer = Rendezvous(n)
    for key in keys:
        before = balancer.pick(0, mask(n), key)
        after = balancer.pick(0, mask(n) & ~(1 << gone), key)
        assert (after == before) == (before != gone)
        assert balancer.pick(0, mask(n), key) == before, "it came back, and its keys with it"


@given(n=st.integers(1, 70), keys=st.lists(st.integers(0, 2**64 - 1), max_size=60))
def test_a_new_instance_takes_keys_from_others_but_moves_none_between_them(n: int, keys: list[int]) -> None:
    old, new = Rendezvous(n), Rendezvous(n)
    new.resize(n + 1)
    assert all(new.pick(0, mask(n + 1), key) in (n, old.pick(0, mask(n), key)) for key in keys)


def test_rendezvous_spreads_keys_evenly() -> None:
    """Even consecutive keys. 8 instances, chi-square with 7 degrees of freedom, p < 1e-6."""
    balancer, keys = Rendezvous(8), 16_000
    picked = Counter(balancer.pick(0, mask(8), key) for key in range(keys))
    assert sum((picked[i] - keys / 8) ** 2 / (keys / 8) for i in range(8)) < 41


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
