"""The stream of events: it tells of every change, and a slow reader costs no memory and learns what it missed."""

from __future__ import annotations

import asyncio

from tests.contract.kit import manager_of, stdio_spec

from crossfade.impls import Event, Manager, ServerSpec


async def told_of(events: asyncio.Queue[Event], *wanted: tuple[str, str | None]) -> None:
    """Wait until events of these kinds and new states about server ``one`` were seen, in whatever order."""
    missing = set(wanted)
    async with asyncio.timeout(5):
        while missing:
            event = await events.get()
            assert event.server == "one"
            missing -= {(event.kind, event.new), (event.kind, None)}


async def pump(manager: Manager, into: asyncio.Queue[Event], ready: asyncio.Event) -> None:
    stream = manager.events()
    ready.set()
    async for event in stream:
        into.put_nowait(event)


async def test_events_tell_of_every_change_and_end_with_the_manager(variant: str) -> None:
    events: asyncio.Queue[Event] = asyncio.Queue()
    ready = asyncio.Event()
    async with manager_of(variant) as manager:
        reader = asyncio.create_task(pump(manager, events, ready))
        await ready.wait()
        await manager.register(stdio_spec("one"))
        await told_of(events, ("registered", None), ("state", "healthy"))
        await manager.unregister("one")
        await told_of(events, ("unregistered", None))
    async with asyncio.timeout(5):
        await reader


async def test_a_slow_reader_of_events_is_told_of_the_gap(variant: str) -> None:
    async with manager_of(variant) as manager:
        stream = manager.events()
        for number in range(2500):
            await manager.register(ServerSpec(name=f"s{number}", urls=("http://127.0.0.1:9/mcp",), lazy=True))
            await manager.unregister(f"s{number}")
        seen, gap = 0, None
        async with asyncio.timeout(5):
            while gap is None:
                event = await anext(stream)
                seen += 1
                gap = event if event.kind == "gap" else None
        assert gap.missed > 0
        assert seen < 5000, "memory grew with every event nobody read"


async def test_a_slow_reader_misses_exactly_what_it_is_told(variant: str) -> None:
    async with manager_of(variant) as manager:
        slow, quick = manager.events(), manager.events()
        spec = ServerSpec(name="s", urls=("http://127.0.0.1:9/mcp",), lazy=True)
        told: list[Event] = []

        async def happen(times: int) -> None:
            for _ in range(times):
                await manager.register(spec)
                told.append(await anext(quick))
                await manager.unregister("s")
                while told[-1].kind != "unregistered":
                    told.append(await anext(quick))

        await happen(700)
        seen = [await anext(slow) for _ in range(10)]
        await happen(5)
        async with asyncio.timeout(5):
            while sum(event.missed or 1 for event in seen) < len(told):
                seen.append(await anext(slow))
        gaps = [number for number, event in enumerate(seen) if event.kind == "gap"]
        assert len(gaps) == 1
        assert seen[: gaps[0]] == told[: gaps[0]], "an event before the gap was lost or out of place"
        assert gaps[0] + seen[gaps[0]].missed == len(told), "the gap does not count what is missing"
        await happen(1)
        assert (await anext(slow)).kind == "registered", "the reader was not taken up again"
