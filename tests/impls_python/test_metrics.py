"""The histogram is near the truth at any quantile, and events tell of what a slow reader missed."""

from __future__ import annotations

import gc
import math

from hypothesis import given
from hypothesis import strategies as st

from crossfade.impls.python import events
from crossfade.impls.python.metrics import Histogram
from crossfade.impls.snapshots import Event


@given(st.lists(st.integers(0, 2**45), min_size=1, max_size=300), st.floats(0.01, 1.0))
def test_a_quantile_is_at_most_an_eighth_too_high(values: list[int], q: float) -> None:
    histogram = Histogram()
    for value in values:
        histogram.record(value)
    true = sorted(values)[max(math.ceil(q * len(values)), 1) - 1]
    assert true <= histogram.quantile(q) <= true * 9 / 8 + 1
    assert histogram.summary()["max"] == max(values)


def test_an_empty_histogram_says_zero() -> None:
    assert set(Histogram().summary().values()) == {0}


async def test_a_reader_that_sleeps_learns_how_much_it_missed_and_in_which_place() -> None:
    stream = events.Events()
    reader = stream.stream()
    for number in range(events.CAPACITY + 7):
        stream.publish(Event(kind="registered", server=str(number)))
    for number in range(events.CAPACITY):
        assert (await anext(reader)).server == str(number)
    gap = await anext(reader)
    assert (gap.kind, gap.missed) == ("gap", 7)
    stream.publish(Event(kind="registered", server="after"))
    assert (await anext(reader)).server == "after"
    stream.close()
    assert [event async for event in reader] == []


async def test_a_stream_that_nobody_reads_is_not_kept() -> None:
    stream = events.Events()
    reader = stream.stream()
    stream.publish(Event(kind="registered", server="seen"))
    assert len(stream._readers) == 1
    await reader.aclose()  # type: ignore[attr-defined]
    del reader
    gc.collect()
    assert len(stream._readers) == 0
