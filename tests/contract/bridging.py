"""The bridge as a grid: who talks to whom over what. A test of the grid runs in each place and opens what it needs.

Rule: a place is named in the id of its test (``legacy-modern-http``), from which README's table is made.
"""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from tests.contract.clients import Served, serving
from tests.contract.kit import HttpServer, http_spec, stdio_spec
from tests.contract.talker import Answer, Message, Talker
from tests.contract.talker_http import HttpTalker, LegacyHttpTalker, ModernHttpTalker
from tests.contract.talker_stdio import StdioTalker, piped

from crossfade.impls import Config, Gateway, GatewaySpec, ServerSpec

TALKERS: dict[str, type[HttpTalker]] = {"modern": ModernHttpTalker, "legacy": LegacyHttpTalker}
ERAS = ("modern", "legacy")
TRANSPORTS = ("stdio", "http")


@dataclass(frozen=True)
class Place:
    """A client of one era at one face, a server of another era (or the same) behind another transport."""

    client: str
    server: str
    face: str
    upstream: str

    @property
    def path(self) -> str:
        transport = self.face if self.face == self.upstream else f"{self.face}+{self.upstream}"
        return f"{self.client}/{self.server}/{transport}"

    def __str__(self) -> str:
        return self.path.replace("/", "-")


PLACES = [Place(client, server, via, via) for client in ERAS for server in ERAS for via in TRANSPORTS]
MIXED = [
    Place("modern", "legacy", "http", "stdio"),
    Place("legacy", "modern", "http", "stdio"),
    Place("modern", "legacy", "stdio", "http"),
    Place("legacy", "legacy", "http", "stdio"),
]


@dataclass(frozen=True)
class Bridge:
    """One place with one variant in the middle."""

    variant: str
    place: Place
    http: Callable[..., HttpServer]

    def spec(self, **more: Any) -> ServerSpec:
        """The server ``fix``."""
        if self.place.upstream == "stdio":
            return stdio_spec("fix", era=self.place.server, **more)
        return http_spec(self.http(era=self.place.server), **more)

    @asynccontextmanager
    async def open(
        self, answers: dict[str, Answer] | None = None, capabilities: Message | None = None, **gateway: Any
    ) -> AsyncIterator[Talker]:
        """A client, connected; it declares what it has ``answers`` for unless told otherwise."""
        client = self.place.client
        async with AsyncExitStack() as stack:
            if self.place.face == "stdio":
                config = Config(servers=(self.spec(),), gateway=GatewaySpec(**gateway))
                process = await stack.enter_async_context(piped(self.variant, config))
                talker: Talker = StdioTalker(process, client, answers, capabilities)
            else:
                served = await stack.enter_async_context(self.serve(**gateway))
                talker = self.talker(served.gateway, answers, capabilities)
            yield await stack.enter_async_context(talker)

    @asynccontextmanager
    async def serve(self, server: Message | None = None, **gateway: Any) -> AsyncIterator[Served]:
        """The gateway alone, over HTTP; ``server`` is more of the server's spec."""
        async with serving(self.variant, self.spec(**(server or {})), **gateway) as served:
            yield served

    def talker(
        self,
        gateway: Gateway,
        answers: dict[str, Answer] | None = None,
        capabilities: Message | None = None,
        caller: str | None = None,
    ) -> HttpTalker:
        """One more client at the HTTP face, not yet entered; ``caller`` is its bearer token."""
        return TALKERS[self.place.client](gateway, answers, capabilities, caller)


_numbers = itertools.count()


def unique(name: str) -> str:
    """Servers are shared: what one test leaves behind is not what the next one meant."""
    return f"{name}-{next(_numbers)}"


def text_of(answer: Message) -> str:
    return str(answer["result"]["content"][0]["text"])


async def announced(talker: Talker, what: str, *, expected: bool = True, **params: Any) -> int:
    """Once the server has told it to somebody, or to nobody any more if that is ``expected``; to how many streams.

    What is watched upstream follows what clients watch, a moment later.
    """
    told = 0
    for _ in range(300):
        told = int(await talker.text("announce", what=what, params=params))
        if bool(told) is expected:
            return told
    raise AssertionError(f"{what} of {params} was told to {told} streams")
