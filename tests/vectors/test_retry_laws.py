"""The laws at the top of ``cores/retry.py``: budgets hold whatever fails, waits are uniform below their bound."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from crossfade.impls.config import RetrySpec
from crossfade.impls.cores import Retry, RetryConfig

MS = 1_000_000
CONFIGS = st.builds(
    RetryConfig,
    attempts=st.integers(1, 6),
    base_ns=st.integers(1, 50),
    cap_ns=st.integers(1, 300),
    budget_per_mille=st.integers(0, 1000),
    budget_burst=st.integers(1, 5),
)
SEEDS = st.integers(0, 2**64 - 1)


@given(config=CONFIGS, seed=SEEDS, failing=st.lists(st.integers(0, 7), max_size=60))
def test_no_outage_makes_more_retries_than_the_budget(config: RetryConfig, seed: int, failing: list[int]) -> None:
    """``failing`` is how many attempts of each request would fail."""
    retry, retries = Retry(config, seed), 0
    for requests, failures in enumerate(failing, 1):
        retry.request()
        made = 1
        while made <= failures:
            wait_ns = retry.next(made)
            if wait_ns < 0:
                assert made >= config.attempts or retry.budget_milli() < 1000, "refused without a reason"
                break
            assert wait_ns <= min(config.cap_ns, config.base_ns * 2 ** (made - 1))
            made += 1
            retries += 1
        assert made <= config.attempts
        assert retries * 1000 <= config.budget_burst * 1000 + requests * config.budget_per_mille
        assert 0 <= retry.budget_milli() <= config.budget_burst * 1000


@given(config=CONFIGS, seed=SEEDS, refused=st.integers(1, 9))
def test_what_is_refused_or_not_made_costs_nothing(config: RetryConfig, seed: int, refused: int) -> None:
    retry = Retry(config, seed)
    before = retry.budget_milli()
    for _ in range(refused):
        assert retry.next(config.attempts) == -1
    assert retry.budget_milli() == before
    if config.attempts > 1:
        assert retry.next(1) == Retry(config, seed).next(1), "a refusal drew from the stream"
        retry.forget()
        assert retry.budget_milli() == before


def test_every_wait_up_to_the_bound_is_equally_likely() -> None:
    """Eleven waits, 0 to 10: chi-square, 10 degrees, p < 1e-6."""
    draws = 22_000
    retry = Retry(RetryConfig(base_ns=10, cap_ns=100, budget_burst=draws), 42)
    waits = Counter(retry.next(1) for _ in range(draws))
    assert set(waits) == set(range(11))
    assert sum((waits[wait] - draws / 11) ** 2 / (draws / 11) for wait in range(11)) < 48


def test_a_specification_means_what_it_says() -> None:
    spec = RetrySpec(attempts=3, base_ms=5, cap_ms=40, budget_per_mille=100, budget_burst=7)
    assert RetryConfig.from_spec(spec) == RetryConfig(3, 5 * MS, 40 * MS, 100, 7)
