"""A steady load whose every request is counted, for tests of what must not lose one.

Rule: an answer counts only if it is the answer to this very request; anything else is kept as an error.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

from tests.contract.clients import LegacyClient, Served

from crossfade.impls import Manager

Ask = Callable[[str], Awaitable[str]]
URI = "fixture://item/"


@dataclass
class Tally:
    """What became of the requests: ``sent`` is ``answered`` plus ``errors`` when the load has ended."""

    sent: int = 0
    answered: int = 0
    errors: list[str] = field(default_factory=list)

    async def more(self, count: int) -> None:
        """Until so many more are answered."""
        goal = self.answered + count
        while self.answered < goal and not self.errors:  # noqa: ASYNC110 -- the counter is all there is to look at
            await asyncio.sleep(0.005)


@asynccontextmanager
async def load_on(
    face: str, manager: Manager, served: Served | None, name: str, workers: int = 4
) -> AsyncIterator[Tally]:
    """``workers`` clients that call one after the other; ``face`` is ``process``, ``modern`` or ``legacy``."""
    tally = Tally()
    stop = asyncio.Event()
    async with AsyncExitStack() as stack:
        asks = [await _asking(stack, face, manager, served, name) for _ in range(workers)]
        tasks = [asyncio.create_task(_work(ask, str(number), tally, stop)) for number, ask in enumerate(asks)]
        try:
            await tally.more(workers)
            yield tally
            await tally.more(workers)
        finally:
            stop.set()
            await asyncio.gather(*tasks)


async def _work(ask: Ask, who: str, tally: Tally, stop: asyncio.Event) -> None:
    turn = 0
    while not stop.is_set():
        turn += 1
        text = f"{who}-{turn}"
        tally.sent += 1
        try:
            found = await ask(text)
        except Exception as error:  # noqa: BLE001 -- whatever it is, it is a lost request
            tally.errors.append(repr(error))
            await asyncio.sleep(0.05)
        else:
            if found == text:
                tally.answered += 1
            else:
                tally.errors.append(f"{found!r} for {text!r}")


async def _asking(stack: AsyncExitStack, face: str, manager: Manager, served: Served | None, name: str) -> Ask:
    """Every third request reads a resource, the others call a tool; every eighth of a legacy client is the first in
    a new session, because a session stays with its instance and clients come and go.
    """
    turns = 0

    def reads() -> bool:
        nonlocal turns
        turns += 1
        return turns % 3 == 0

    async def in_process(text: str) -> str:
        if reads():
            read = await manager.read_resource(URI + text, server=name)
            return str(read.data["contents"][0]["uri"]).removeprefix(URI)
        return (await manager.call_tool(f"{name}__echo", {"text": text})).text

    if face == "process":
        return in_process
    assert served is not None
    client = await stack.enter_async_context(served.client(face))

    async def through_the_gateway(text: str) -> str:
        if isinstance(client, LegacyClient) and turns % 8 == 7:
            await client.delete()
            await client.initialize()
        if reads():
            read = await client.result("resources/read", {"uri": URI + text})
            return str(read["contents"][0]["uri"]).removeprefix(URI)
        return await client.text(f"{name}__echo", text=text)

    return through_the_gateway
