"""The laws at the top of ``cores/limiter.py``, held against greedy callers and floods of keys."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from crossfade.impls.config import RateLimitSpec
from crossfade.impls.cores import Gcra, KeyedLimiter, RateLimitConfig

CONFIGS = st.builds(
    RateLimitConfig,
    requests=st.integers(1, 9),
    per_ns=st.integers(1, 60),
    burst=st.integers(1, 5),
    max_keys=st.integers(1, 5),
)
GAPS = st.lists(st.integers(0, 30), min_size=1, max_size=60)


def over(config: RateLimitConfig, admitted: list[int], now_ns: int) -> bool:
    """Whether some stretch of time that ends now has seen more than a burst and the rate."""
    spacing = -(-config.per_ns // config.requests)
    return any(
        sum(begin <= at <= now_ns for at in admitted) > config.burst + (now_ns - begin) // spacing for begin in admitted
    )


@given(config=CONFIGS, gaps=GAPS)
def test_a_request_is_refused_exactly_if_some_stretch_of_time_would_see_too_many(
    config: RateLimitConfig, gaps: list[int]
) -> None:
    limit, now_ns = Gcra(config), 0
    admitted: list[int] = []
    for gap in gaps:
        now_ns += gap
        for _ in range(3):  # greedy: it never leaves an allowance unused
            refused = limit.admit(now_ns) > 0
            assert refused == over(config, [*admitted, now_ns], now_ns)
            if not refused:
                admitted.append(now_ns)


@given(config=CONFIGS, gaps=GAPS)
def test_a_wait_is_exact_and_refusals_consume_nothing(config: RateLimitConfig, gaps: list[int]) -> None:
    limit, patient, now_ns = Gcra(config), Gcra(config), 0
    for gap in gaps:
        now_ns += gap
        wait_ns = limit.peek(now_ns)
        assert limit.admit(now_ns) == wait_ns
        if wait_ns:
            assert limit.admit(now_ns + wait_ns - 1) == 1
            now_ns += wait_ns
            assert limit.admit(now_ns) == 0
        assert patient.admit(now_ns) == 0, "the one who asked in vain has less than the one who waited"


@given(config=CONFIGS, idle_ns=st.integers(0, 10**6))
def test_idle_time_saves_up_one_burst(config: RateLimitConfig, idle_ns: int) -> None:
    limit = Gcra(config)
    assert [limit.admit(idle_ns) == 0 for _ in range(config.burst + 1)] == [True] * config.burst + [False]


@given(config=CONFIGS, asked=st.lists(st.tuples(st.integers(0, 20), st.integers(0, 9)), max_size=80))
def test_a_key_pays_for_itself_alone_and_is_forgiven_only_in_a_crowd(
    config: RateLimitConfig, asked: list[tuple[int, int]]
) -> None:
    limiter, now_ns = KeyedLimiter(config), 0
    admitted: dict[int, list[int]] = {}
    crowded = len({key for _, key in asked}) > config.max_keys
    for gap, key in asked:
        now_ns += gap
        refused = limiter.admit(now_ns, key) > 0
        mine = admitted.setdefault(key, [])
        too_many = over(config, [*mine, now_ns], now_ns)
        assert refused == too_many or (crowded and too_many)
        if not refused:
            mine.append(now_ns)
        assert limiter.size <= config.max_keys


@given(config=CONFIGS, keys=st.integers(2, 30))
def test_a_flood_of_keys_is_forgotten_once_it_is_over(config: RateLimitConfig, keys: int) -> None:
    limiter = KeyedLimiter(config)
    for key in range(keys):
        limiter.admit(0, key)
    for key in range(keys):
        limiter.admit(10**6 * (key + 1), keys + key)
    assert limiter.size == 1


@given(max_keys=st.integers(2, 6), flood=st.integers(1, 40))
def test_a_key_that_keeps_coming_is_not_forgotten_for_a_flood_of_others(max_keys: int, flood: int) -> None:
    limiter = KeyedLimiter(RateLimitConfig(requests=1, per_ns=100, burst=60, max_keys=max_keys))
    for other in range(flood):
        assert limiter.admit(0, 999) == 0
        assert limiter.admit(0, other) == 0
    for _ in range(60 - flood):
        assert limiter.admit(0, 999) == 0
    assert limiter.admit(0, 999) == 100, "the flood has reset the allowance of a key in use"


def test_a_specification_means_what_it_says() -> None:
    config = RateLimitConfig.from_spec(RateLimitSpec(requests=50, per_ms=1000, burst=3, max_keys=7))
    assert (config.spacing_ns, config.burst, config.max_keys) == (20_000_000, 3, 7)
