"""Streams of legacy clients that outlive their connection: ids, replay by ``Last-Event-ID``, and nothing twice."""

from __future__ import annotations

from tests.contract.bridging import unique
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
                assert len(client.streams[pending.id].event_ids) == (3 if primed else 2)


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


async def raw(client: LegacyHttpTalker, gateway: Gateway, last_event: str) -> list[Message]:
    """All messages of a resumed stream, until it ends."""
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
        return [message async for message in stream.messages()]
