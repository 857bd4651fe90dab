"""The laws of the histogram: near the truth at any quantile, exact at powers of two, and nothing is lost."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from crossfade.impls.cores.histogram import MAX_BITS, OCTAVES, Histogram

latencies = st.lists(st.integers(0, 2**MAX_BITS - 1) | st.integers(0, 5_000_000), min_size=1, max_size=300)


def recorded(values: list[int]) -> Histogram:
    histogram = Histogram()
    for value in values:
        histogram.record(value)
    return histogram


@given(latencies, st.integers(0, 1000))
def test_a_quantile_is_never_too_low_and_at_most_a_thirtysecond_too_high(values: list[int], per_mille: int) -> None:
    histogram = recorded(values)
    true = sorted(values)[max(math.ceil(per_mille * len(values) / 1000), 1) - 1]
    assert true <= histogram.quantile_ns(per_mille) <= true * 33 / 32 + 1
    assert histogram.summary()["max"] == max(values)


@given(latencies)
def test_counts_below_a_power_of_two_are_exact(values: list[int]) -> None:
    histogram = recorded(values)
    for octave in OCTAVES:
        assert histogram.below(octave) == sum(value < 1 << octave for value in values)
    assert histogram.count == len(values)


@given(latencies, latencies)
def test_two_added_up_are_one_that_saw_both(first: list[int], second: list[int]) -> None:
    total = recorded(first)
    total.add(recorded(second))
    assert total.summary() == recorded(first + second).summary()


@given(st.integers(2**MAX_BITS, 2**62))
def test_what_is_longer_than_all_buckets_is_kept_in_the_last(value: int) -> None:
    histogram = recorded([value])
    assert histogram.count == 1
    assert histogram.quantile_ns(500) == 2**MAX_BITS - 1
    assert histogram.max_ns == value
