"""Streams of legacy clients that outlive their connection: ids, replay by ``Last-Event-ID``, and nothing twice."""

from __future__ import annotations

import pytest
from tests.contract.bridging import announced, unique
from tests.contract.clients import serving
from tests.contract.kit import stdio_spec
from tests.contract.talker import Message, call_of
from tests.contract.talker_http import LegacyHttpTalker, Stream

from crossfade.impls import Gateway


class Older(LegacyHttpTalker):
    """A client that would take an event without data for a message."""

    version = "2025-06-18"


async def progressing(client: LegacyHttpTalker, name: str) -> tuple[int, str]:
    """Starts a call that reports progress and then waits for ``name`` to be released, and drops its connection.

    The request's id, and the id of the last event that came.
    """
    pending = await client.start("tools/call", call_of("progress", {"steps": 2, "hold": name}, progressToken=1))
    for _ in range(2):
        await client.hear("notifications/progress")
    stream = client.streams[pending.id]
    assert stream.last_event is not None
    pending.abandon()
    return pending.id, stream.last_event


async def test_a_call_goes_on_when_its_stream_breaks_and_is_read_to_its_end(variant: str) -> None:
    async with serving(variant, stdio_spec("fix")) as served, LegacyHttpTalker(served.gateway) as client:
        name = unique("held")
        request, last_event = await progressing(client, name)
        await client.text("release", hold=name)
        stream = await raw(client, served.gateway, last_event)
        assert stream[-1]["id"] == request
        assert stream[-1]["result"]["content"][0]["text"] == "progressed"
        assert len(stream) == 1


async def test_only_what_followed_on_the_same_stream_is_sent_again(variant: str) -> None:
    async with serving(variant, stdio_spec("fix")) as served, LegacyHttpTalker(served.gateway) as client:
        one, other = unique("held"), unique("held")
        _, first = await progressing(client, one)
        request, second = await progressing(client, other)
        assert first.split("-")[0] != second.split("-")[0]
        for name in (one, other):
            await client.text("release", hold=name)
        begin = second.split("-")[0] + "-0"
        stream = await raw(client, served.gateway, begin)
        assert [message.get("method") for message in stream] == ["notifications/progress"] * 2 + [None]
        assert stream[-1]["id"] == request


async def test_only_clients_that_know_it_get_an_event_without_data(variant: str) -> None:
    async with serving(variant, stdio_spec("fix", era="modern")) as served:
        for kind, primed in ((LegacyHttpTalker, True), (Older, False)):
            async with kind(served.gateway) as client:
                pending = await client.start("tools/call", call_of("progress", {"steps": 1}, progressToken=1))
                await pending.answer()
                assert numbers(client.streams[pending.id]) == ([0, 1, 2] if primed else [1, 2])


async def test_without_replay_events_have_no_ids(variant: str) -> None:
    async with (
        serving(variant, stdio_spec("fix"), replay_events=0) as served,
        LegacyHttpTalker(served.gateway) as client,
    ):
        pending = await client.start("tools/call", call_of("progress", {"steps": 1}, progressToken=1))
        await pending.answer()
        assert client.streams[pending.id].event_ids == []


async def test_an_unknown_event_gets_a_fresh_stream(variant: str) -> None:
    async with serving(variant, stdio_spec("fix")) as served, LegacyHttpTalker(served.gateway) as client:
        await client.open_stream("99-99")
        await client.text("announce", what="tools/list_changed")
        await client.hear("notifications/tools/list_changed")


@pytest.mark.parametrize("lost", [0, 1, 13])
async def test_a_gap_in_what_is_sent_again_is_told_and_costs_no_answer(variant: str, lost: int) -> None:
    """30 reports and the answer: of these 31 events the last 16 are kept, so that 16 is the first."""
    async with (
        serving(variant, stdio_spec("fix"), replay_events=16) as served,
        LegacyHttpTalker(served.gateway) as client,
    ):
        name = unique("held")
        pending = await client.start("tools/call", call_of("progress", {"steps": 30, "hold": name}, progressToken=1))
        for _ in range(30):
            await client.hear("notifications/progress")
        number = (client.streams[pending.id].last_event or "").split("-")[0]
        pending.abandon()
        await client.text("release", hold=name)
        await read_on(client, served.gateway, f"{number}-30")
        rest = await read_on(client, served.gateway, f"{number}-{15 - lost}")
        assert numbers(rest) == list(range(16, 32))
        assert [message["params"]["progress"] for message in rest.received[:-1]] == list(range(16, 31))
        assert rest.received[-1]["id"] == pending.id
        assert [note.split()[0] for note in rest.notes] == ([str(lost)] if lost else [])


async def test_changes_among_lost_events_are_told_again(variant: str) -> None:
    async with (
        serving(variant, stdio_spec("fix"), replay_events=16) as served,
        LegacyHttpTalker(served.gateway) as client,
        LegacyHttpTalker(served.gateway) as other,
    ):
        await client.watch("fixture://greeting")
        await announced(other, "prompts/list_changed")
        await client.hear("notifications/prompts/list_changed")
        own = client.own
        assert own is not None
        begin = (own.last_event or "").split("-")[0] + "-0"
        own.connection.abort()
        pending = await client.start("tools/call", call_of("progress", {"steps": 30}, progressToken=1))
        await pending.answer()
        client.heard.clear()
        stream = await client.get(begin)
        await client.hear("notifications/prompts/list_changed")
        await client.hear("notifications/resources/updated", lambda params: params["uri"] == "fixture://greeting")
        assert len(stream.notes) == 1


def numbers(stream: Stream) -> list[int]:
    """Of the stream's events, from its own begin."""
    return [int(event.split("-")[1]) for event in stream.event_ids]


async def raw(client: LegacyHttpTalker, gateway: Gateway, last_event: str) -> list[Message]:
    """All messages of a resumed stream, until it ends."""
    return (await read_on(client, gateway, last_event)).received


async def read_on(client: LegacyHttpTalker, gateway: Gateway, last_event: str) -> Stream:
    """A resumed stream that has ended."""
    other = LegacyHttpTalker(gateway)
    other.session = client.session
    connection = await other.connect()
    async with connection:
        head = connection.head(
            "GET", "/mcp", {**other.headers(), "Accept": "text/event-stream", "Last-Event-ID": last_event}
        )
        await connection.send(head)
        stream = Stream(connection)
        await stream.open()
        assert stream.status == 200
        stream.received = [message async for message in stream.messages()]
        return stream
