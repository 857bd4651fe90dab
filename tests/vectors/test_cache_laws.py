"""Laws of the cache that no vector can list: bounds always hold, nothing stale is given, and what leaves had to."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from crossfade.impls import CacheSpec
from crossfade.impls.cores.cache import Cache, CacheConfig

CONFIGS = st.builds(
    CacheConfig, max_entries=st.integers(0, 4), max_bytes=st.integers(0, 30), max_ttl_ns=st.integers(0, 20)
)
STEPS = st.lists(
    st.tuples(st.integers(0, 4), st.integers(0, 5), st.integers(0, 12), st.integers(0, 25), st.integers(0, 3)),
    max_size=80,
)


@given(CONFIGS, STEPS)
def test_bounds_hold_and_nothing_stale_is_given(config: CacheConfig, steps: list[tuple[int, ...]]) -> None:
    cache: Cache[int, tuple[int, int]] = Cache(config)
    until: dict[int, int] = {}
    sizes: dict[int, int] = {}
    now = 0
    for elapsed, key, size, ttl, what in steps:
        now += elapsed
        if what == 0:
            left = cache.put(now, key, (now, key), size, ttl)
            assert key not in left
            assert len(set(left)) == len(left)
            until[key], sizes[key] = now + min(ttl, config.max_ttl_ns), size
        elif what == 1:
            cache.remove(key)
            assert cache.get(now, key) is None
        else:
            found = cache.get(now, key)
            assert found is None or (found[1] == key and now < until[key])
        assert len(cache) <= config.max_entries
        assert cache.bytes == sum(sizes[k] for k in cache.keys()) <= config.max_bytes  # noqa: SIM118  no mapping


@given(CONFIGS, STEPS)
def test_what_leaves_fresh_was_used_longest_ago(config: CacheConfig, steps: list[tuple[int, ...]]) -> None:
    cache: Cache[int, int] = Cache(config)
    until: dict[int, int] = {}
    now = 0
    for elapsed, key, size, ttl, what in steps:
        now += elapsed
        if what:
            cache.get(now, key)
            continue
        before = [k for k in cache.keys() if k != key and until[k] > now]  # noqa: SIM118
        left = cache.put(now, key, 0, size, ttl)
        until[key] = now + min(ttl, config.max_ttl_ns)
        fresh = [k for k in left if until[k] > now]
        assert fresh == before[: len(fresh)], "somebody went before his turn"


def test_memory_of_times_stays_bounded_under_replacement() -> None:
    cache: Cache[int, int] = Cache(CacheConfig(max_ttl_ns=1 << 60))
    for number in range(10_000):
        cache.put(number, number % 3, number, 1, 1 << 50)
    assert len(cache._expiry) <= 2 * 3 + 64 + 1


def test_the_bounds_come_from_the_specification() -> None:
    config = CacheConfig.from_spec(CacheSpec(max_entries=5, max_bytes=7, max_ttl_ms=9))
    assert config == CacheConfig(5, 7, 9_000_000)
