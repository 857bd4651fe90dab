"""The histogram codec: known percentiles with numpy, merging, and every value the encoding can carry."""

from __future__ import annotations

import base64

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossfade.harness.hdr import HIGHEST, Histogram, highest_of, index_of


def test_percentiles_are_those_of_the_samples_to_three_digits() -> None:
    samples = np.random.default_rng(1).lognormal(13, 2, 20_000).astype(np.int64).clip(1, HIGHEST)
    histogram = Histogram()
    histogram.record_all(samples.tolist())
    for percentile in (0, 1, 50, 90, 99, 99.9, 100):
        # Integers: numpy's own percentile rounds 0.999 * 20000 up to the next sample.
        rank = max(1, -(-round(percentile * 10) * len(samples) // 1000))
        expected = int(np.sort(samples)[rank - 1])
        assert histogram.value_at_percentile(percentile) == pytest.approx(expected, rel=1e-3)
    assert histogram.max_value == pytest.approx(samples.max(), rel=1e-3)
    assert histogram.total_count == len(samples)


@given(st.integers(0, HIGHEST))
def test_a_bucket_is_as_narrow_as_promised(value: int) -> None:
    highest = highest_of(index_of(value))
    assert value <= highest <= value * 1.001 + 1
    assert index_of(highest) == index_of(value)
    assert index_of(highest + 1) == index_of(value) + 1


@given(st.dictionaries(st.integers(0, HIGHEST), st.integers(1, 1 << 61), max_size=30))
def test_encoding_loses_nothing(counts: dict[int, int]) -> None:
    histogram = Histogram()
    for value, count in counts.items():
        histogram.record(value, count)
    again = Histogram.decode(histogram.encode())
    assert again.counts == histogram.counts
    assert again.total_count == histogram.total_count


@given(st.lists(st.integers(0, HIGHEST)), st.lists(st.integers(0, HIGHEST)))
def test_merging_is_recording_both(left: list[int], right: list[int]) -> None:
    one, two, both = Histogram(), Histogram(), Histogram()
    one.record_all(left)
    two.record_all(right)
    both.record_all(left + right)
    one.add(two)
    assert one.counts == both.counts


def test_values_outside_are_counted_at_the_edge() -> None:
    histogram = Histogram()
    histogram.record_all([-5, HIGHEST * 10])
    assert histogram.total_count == 2
    assert histogram.max_value == pytest.approx(HIGHEST, rel=1e-3)


@pytest.mark.parametrize("blob", ["", "!", "AAAA", base64.b64encode(b"x" * 60).decode()])
def test_what_is_no_histogram_is_refused(blob: str) -> None:
    with pytest.raises(ValueError, match=r"histogram|HdrHistogram"):
        Histogram.decode(blob)
