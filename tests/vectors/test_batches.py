"""A batch of the numba cores does what as many single steps of the Python core do, and refuses what would run wild."""

from __future__ import annotations

import numpy as np
import pytest

from crossfade.impls.cores import (
    P2C,
    Breaker,
    BreakerConfig,
    Gcra,
    Health,
    HealthConfig,
    KeyedLimiter,
    Pool,
    PoolConfig,
    RateLimitConfig,
    Rendezvous,
    Restart,
    RestartConfig,
    SplitMix64,
    bench_ops,
)
from crossfade.impls.cores_numba import bench_ops as numba_ops
from crossfade.impls.cores_numba import breaker, health, limiter, p2c, pool, rendezvous, restart, rng

N = 1024
RNG = SplitMix64(9)


def test_draws_wrap_as_64_bits_do() -> None:
    one = SplitMix64(2**64 - 1)
    assert rng.SplitMix64(2**64 - 1).batch(100).tolist() == [one.next_u64() for _ in range(100)]


def test_p2c_over_1024_instances_routes_as_single_picks_do() -> None:
    single, batch = P2C(N, 3), p2c.P2C(N, 3)
    usable = sum(1 << i for i in range(N) if i % 5)
    for now_ns in range(0, 1 << 33, 1 << 31):
        chosen = []
        for _ in range(500):
            chosen.append(single.pick(now_ns, usable))
            single.started(chosen[-1])
        found = batch.route_batch(now_ns, usable, 500)
        assert found.tolist() == chosen
        latency_ns = [RNG.below(1 << 40) for _ in chosen]
        ok = [RNG.below(8) > 0 for _ in chosen]
        for i, took, good in zip(chosen, latency_ns, ok, strict=True):
            single.finished(i, now_ns + 1, took, good)
        batch.finished_batch(found, now_ns + 1, np.array(latency_ns), np.array(ok))
    assert [batch.ewma_ns(i) for i in range(N)] == [single.ewma_ns(i) for i in range(N)]
    assert batch.route_batch(0, 0, 5).size == 0


def test_rendezvous_places_keys_of_all_64_bits_in_bulk() -> None:
    keys = [0, 1, 2**63 - 1, 2**63, 2**64 - 1, *(RNG.next_u64() for _ in range(200))]
    usable = (1 << 300) - 1 ^ (1 << 7)
    single = Rendezvous(300)
    expect = [single.pick(0, usable, key) for key in keys]
    assert rendezvous.Rendezvous(300).pick_batch(usable, np.array(keys, np.uint64)).tolist() == expect


def test_breakers_of_many_instances_do_not_touch_each_other() -> None:
    configs = [BreakerConfig(window=1 + i % 7, min_calls=1 + i % 3, open_ns=50 + i, probes=1 + i % 2) for i in range(N)]
    singles, batch = [Breaker(c) for c in configs], breaker.Breakers(configs)
    for now_ns in range(0, 2000, 100):
        which = np.array([RNG.below(N) for _ in range(N)])
        expect = [singles[i].admit(now_ns) for i in which]
        assert batch.admit(now_ns, which).tolist() == expect
        called = which[np.array(expect)]
        ok = np.array([RNG.below(2) == 1 for _ in called])
        for i, good in zip(called.tolist(), ok.tolist(), strict=True):
            singles[i].record(now_ns + 1, good, 1)
        batch.record(now_ns + 1, called, ok, np.ones(called.size, np.int64))


def test_limits_and_keys_in_bulk_wait_as_long_as_one_by_one() -> None:
    configs = [RateLimitConfig(requests=1 + i % 4, per_ns=100, burst=1 + i % 3) for i in range(50)]
    singles, batch = [Gcra(c) for c in configs], limiter.Gcras(configs)
    keyed = RateLimitConfig(requests=2, per_ns=100, burst=2, max_keys=300)
    one, many = KeyedLimiter(keyed), limiter.KeyedLimiter(keyed)
    for now_ns in range(0, 1000, 20):
        which = np.array([RNG.below(50) for _ in range(80)])
        assert batch.admit(now_ns, which).tolist() == [singles[i].admit(now_ns) for i in which]
        keys = [2**64 - 1 - RNG.below(500) for _ in range(80)]
        found = many.admit_batch(now_ns, np.array(keys, np.uint64))
        assert found.tolist() == [one.admit(now_ns, key) for key in keys]
        assert many.size == one.size


def test_health_of_many_turns_when_each_ones_would() -> None:
    configs = [HealthConfig(1 + i % 4, 1 + i % 3) for i in range(40)]
    singles, batch = [Health(c) for c in configs], health.Healths(configs)
    for _ in range(30):
        which = np.array([RNG.below(40) for _ in range(60)])
        ok = np.array([RNG.below(2) == 1 for _ in range(60)])
        expect = [singles[i].record(good) for i, good in zip(which.tolist(), ok.tolist(), strict=True)]
        assert batch.record(which, ok).tolist() == expect
    assert batch.healthy.tolist() == [h.healthy for h in singles]


def test_a_queue_that_outgrows_its_table_keeps_its_order() -> None:
    config = PoolConfig(max_connections=3, max_waiters=1000, streams=2)
    python, numba = Pool(config), pool.Pool(config)
    for waiter in range(700):
        assert list(numba.acquire(0, waiter, 100 + waiter % 9)) == list(python.acquire(0, waiter, 100 + waiter % 9))
    assert list(numba.connected(1, 1)) == list(python.connected(1, 1))
    assert list(numba.tick(104)) == list(python.tick(104))
    assert list(numba.resize(104, 60, 90)) == list(python.resize(104, 60, 90))
    assert list(numba.start(104)) == list(python.start(104))
    assert list(numba.drain(105)) == list(python.drain(105))


def test_more_restarts_than_the_ring_began_with_are_remembered() -> None:
    config = RestartConfig(base_ns=1, cap_ns=5, reset_after_ns=1000, max_restarts=40, window_ns=90)
    python, numba = Restart(config, 1), restart.Restart(config, 1)
    for now_ns in range(0, 300, 2):
        assert numba.exited(now_ns, 0) == python.exited(now_ns, 0)


@pytest.mark.parametrize("op", sorted(bench_ops.OPS.keys() - {"metrics"}))
def test_a_timed_loop_does_the_same_work_in_each_language(op: str) -> None:
    sums = {
        bench_ops.prepare(op, 2000, 32)(),
        numba_ops.prepare(op, 2000, 32)(),
        numba_ops.prepare(f"{op}_batch", 2000, 32)(),
    }
    assert len(sums) == 1


def test_an_index_outside_the_table_is_refused_before_a_kernel_sees_it() -> None:
    bad = np.array([3])
    yes, ns = np.ones(1, np.bool_), np.ones(1, np.int64)
    breakers = breaker.Breakers([BreakerConfig()] * 3)
    with pytest.raises(IndexError, match="name existing ones"):
        breakers.admit(0, bad)
    with pytest.raises(IndexError, match="name existing ones"):
        breakers.record(0, bad, yes, ns)
    with pytest.raises(IndexError, match="name existing ones"):
        p2c.P2C(3, 0).finished_batch(bad, 0, ns, yes)
    with pytest.raises(IndexError, match="name existing ones"):
        limiter.Gcras([RateLimitConfig(1, 1)]).admit(0, bad)
    with pytest.raises(IndexError, match="name existing ones"):
        health.Healths([HealthConfig()]).record(bad, yes)
    with pytest.raises(ValueError, match="as many of each"):
        breakers.record(0, np.array([0]), np.ones(2, np.bool_), ns)
