"""Events tell of what a slow reader missed."""

from __future__ import annotations

import gc

from crossfade.impls.python import events
from crossfade.impls.snapshots import Event


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
