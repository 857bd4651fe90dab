"""Owns the watch on one server: that its changes are heard while somebody wants to hear of them.

Rules: nobody interested, nothing open; one source per server, reopened with backoff when it is lost; what may have been
missed meanwhile is told as changed, for nobody may rely on what was not heard. It starts no server: one that is down is
watched again when it is back.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from time import monotonic_ns
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from crossfade.impls.errors import CrossfadeError, RemoteError, UnknownTarget
from crossfade.impls.python.jsonrpc import Answer, encode
from crossfade.impls.python.notices import KINDS
from crossfade.impls.python.returning import Returning
from crossfade.impls.python.upstream_http import HttpInstance
from crossfade.impls.python.upstream_stdio import StdioInstance
from crossfade.impls.python.watch_http import HttpSource
from crossfade.impls.python.watch_stdio import LegacyPipe, ModernPipe

if TYPE_CHECKING:
    from crossfade.impls.python.instance import Instance
    from crossfade.impls.python.server import Server
    from crossfade.impls.python.watch_source import Position, Source

_STABLE_NS: Final = 10_000_000_000
_FIRST_PAUSE_S: Final = 0.1
_LONGEST_PAUSE_S: Final = 30.0
SETTLE_S: Final = 5.0
"""How long somebody waits until what they want to hear of is watched."""


class Wanted(NamedTuple):
    """What somebody wants to hear of."""

    lists: bool
    uris: frozenset[str]


class Watch:
    """``refused`` says which resources the server does not want to tell of, and why."""

    __slots__ = (
        "_back",
        "_lost",
        "_pausing",
        "_poked",
        "_position",
        "_server",
        "_settled",
        "_source",
        "_task",
        "closed",
        "refused",
        "returning",
    )

    def __init__(self, server: Server) -> None:
        self._server = server
        self._task: asyncio.Task[None] | None = None
        self._poked = asyncio.Event()
        self._settled = asyncio.Event()
        self._source: Source | None = None
        self._lost = False
        self._back = asyncio.Event()
        self._pausing = False
        self._position: Position | None = None
        self.closed = False
        self.refused: dict[str, CrossfadeError] = {}
        self.returning = Returning(server)

    @property
    def streams(self) -> bool:
        """Whether a legacy server's changes are heard on a stream of their own: then nowhere else."""
        return self._source is not None and self._source.streams

    @property
    def wanted(self) -> Wanted:
        """What there is to be heard of, now."""
        return Wanted(self._server.notices.wanted, self._server.notices.uris(self._server.spec.name))

    def poke(self, *, back: bool = False) -> None:
        """Something has changed: what is wanted, or (``back``) who is there to be asked."""
        if self.closed:
            return
        self.returning.poke()
        wanted = self.wanted
        self.refused = {uri: error for uri, error in self.refused.items() if uri in wanted.uris}
        if not wanted.lists and not wanted.uris:
            task, self._task = self._task, None
            if task is not None:
                task.cancel()
            return
        self._poked.set()
        if back:
            self._back.set()
        if self._task is None:
            self._lost = False
            self._settled.clear()
            self._task = asyncio.get_running_loop().create_task(self._run())
        elif not self._pausing:
            self._settled.clear()

    async def settle(self, uri: str | None = None, within_s: float = SETTLE_S) -> None:
        """Wait until what is wanted is watched, or cannot be for now. Raises why ``uri`` cannot be."""
        if self._task is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(within_s):
                    await self._settled.wait()
        if uri is not None and uri in self.refused:
            raise self.refused[uri]

    async def close(self) -> None:
        """No more watching: the server goes."""
        self.closed = True
        task, self._task = self._task, None
        self._settled.set()
        if task is not None:
            task.cancel()
            await asyncio.wait((task,))

    def acknowledged(self, message: Answer) -> None:
        """A modern server has accepted a subscription over stdio."""
        if self._source is not None:
            self._source.acknowledged(message)

    # -- watching

    async def _run(self) -> None:
        pause_s = 0.0
        while True:
            self._poked.clear()
            self._back.clear()
            instance = self._instance()
            source = self._source = self._open(instance)
            if instance is None or source is None:
                self._settled.set()
                self._lost = True  # whoever listed meanwhile has missed it
                await self._poked.wait()
                continue
            began = monotonic_ns()
            try:
                again = await self._follow(instance, source)
            except RemoteError as error:  # it is there, and does not want to: until there is another one
                instance.last_error = error
                self._lost = False
                self._settled.set()
                await self._back.wait()
                continue
            except CrossfadeError as error:
                instance.last_error = instance.last_error or error
                again = False
            finally:
                self._source = None
                self._position = source.position
                source.close()
            self._lost = True
            if not again:
                pause_s = 0.0 if monotonic_ns() - began > _STABLE_NS else pause_s
                pause_s = min(max(pause_s * 2, _FIRST_PAUSE_S), _LONGEST_PAUSE_S)
                await self._pause(max(pause_s, source.retry_s))

    async def _pause(self, pause_s: float) -> None:
        """Wait, unless somebody comes back. Half of it is left to chance: many managers may have lost one server."""
        self._pausing = True
        self._settled.set()
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause_s * random.uniform(0.5, 1)):  # noqa: S311  no secret
                    await self._back.wait()
        finally:
            self._pausing = False

    async def _follow(self, instance: Instance, source: Source) -> bool:
        """Listen until it is lost, or another source is the right one (True). Raises CrossfadeError."""
        watched = self.wanted
        await source.open(watched)
        if self._lost and not source.resumed:
            self._gap(watched)
        self._lost = False
        while True:
            if not self._poked.is_set():
                self._settled.set()
            poked = asyncio.ensure_future(self._poked.wait())
            either: tuple[asyncio.Future[Any], ...] = (poked, source.lost)
            try:
                await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            finally:
                poked.cancel()
            if source.lost.done():
                return False
            if self._instance() is not instance or not source.usable():
                return True
            self._poked.clear()
            wanted = self.wanted
            if wanted != watched:
                await source.renew(wanted)
                watched = wanted

    def _open(self, instance: Instance | None) -> Source | None:
        """The source that fits; None while there is nobody to be asked."""
        if isinstance(instance, StdioInstance):
            conn = instance.child
            if conn is None or conn.id not in instance.conns or instance.peer is None:
                return None
            return (ModernPipe if instance.peer.era == "modern" else LegacyPipe)(self, instance, conn)
        if isinstance(instance, HttpInstance) and (instance.peer is not None or not instance.spec.lazy):
            return HttpSource(self, instance, self._position)
        return None

    def _instance(self) -> Instance | None:
        """Whose word counts: the first that serves."""
        return next((i for i in self._server.instances if not i.retired), None)

    def refuse(self, uri: str, error: CrossfadeError) -> None:
        """The server will not tell of that one."""
        if isinstance(error, RemoteError):
            self.refused[uri] = error
        else:
            self.refused[uri] = UnknownTarget(f"{uri!r} cannot be watched ({error}); try again", server=error.server)

    @property
    def server(self) -> Server:
        """The server that is watched."""
        return self._server

    def _gap(self, wanted: Wanted) -> None:
        """Tell that all may have changed."""
        peer = self._server.peer
        theirs = peer.capabilities if peer is not None else {}
        for kind in KINDS:
            if wanted.lists and kind in theirs:
                self._server.changed(kind)
        for uri in wanted.uris:
            self._server.updated(Answer(params=msgspec.Raw(encode({"uri": uri}))))
