"""Owns the sessions with legacy servers that are one client's alone: opened with what that client can do.

A legacy server keeps by session what it may ask and what it logs, so a client that can be asked needs one of its own.
Over HTTP that is a session id, over pipes a child. Rules: one per instance, whoever opens it first; it ends with its
client, and one that is opened too late for that is closed at once.
"""

from __future__ import annotations

import asyncio
import contextlib
from time import monotonic_ns
from typing import TYPE_CHECKING, Any, Final

from crossfade.impls.errors import CrossfadeError, ManagerClosed
from crossfade.impls.python.jsonrpc import CLIENT_INFO, LEGACY, encode
from crossfade.impls.python.own_child import OwnChild
from crossfade.impls.python.own_stream import listen
from crossfade.impls.python.upstream_http import HttpInstance
from crossfade.impls.python.upstream_stdio import StdioInstance

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from crossfade.impls.python.instance import Instance
    from crossfade.impls.python.voice import Voice

ASKED: Final = ("sampling", "elicitation", "roots")
"""What a client declares if a server may ask it."""
_LISTENING_S: Final = 1.0
_LEVEL_NS: Final = 10_000_000_000


def hello(capabilities: Any, info: Any = None) -> bytes:
    """Params of an ``initialize`` in a client's name."""
    capabilities = capabilities if isinstance(capabilities, dict) else {}
    info = info if isinstance(info, dict) and "name" in info else CLIENT_INFO
    return encode({"protocolVersion": LEGACY[0], "capabilities": capabilities, "clientInfo": info})


def can_be_asked(capabilities: Any) -> bool:
    """Whether a client with these capabilities has any that lets a server ask it."""
    return isinstance(capabilities, dict) and any(isinstance(capabilities.get(key), dict) for key in ASKED)


class Dedicated(dict["Instance", "str | None"]):
    """By instance the session id it gave (None: it keeps none, or it is a child). ``level`` is the client's log level.

    ``asked`` says whether the client can be asked; without that and without a level, children are shared.
    """

    def __init__(self, hello: bytes, *, asked: bool) -> None:
        super().__init__()
        self.hello = hello
        self.asked = asked
        self.level: str | None = None
        self.ended = False
        self.children: dict[Instance, OwnChild] = {}
        self._levels: dict[Instance, str] = {}
        self.voices: list[Voice] = []
        """Those of its requests under way, the latest last."""
        self.home: Callable[[], Voice | None] = lambda: None
        """The voice for what belongs to no request."""
        self._listening: dict[Instance, asyncio.Task[None]] = {}
        self._opening: dict[Instance, asyncio.Task[Any]] = {}

    @property
    def own_child(self) -> bool:
        """Whether it needs a child of its own where servers are children."""
        return self.asked or self.level is not None

    # -- opening

    async def session(self, instance: HttpInstance, deadline_ns: int, lost: str | None = None) -> str | None:
        """The session id with an HTTP server; opened if there is none, or if it is the one that was ``lost``."""
        if instance not in self or (lost is not None and self[instance] == lost):
            await self._once(instance, lambda: self._open_session(instance, deadline_ns))
        return self.get(instance)

    async def target(self, instance: Instance, deadline_ns: int) -> Instance:
        """Who is sent this client's requests for a legacy ``instance``; what it needs for that is opened.

        Raises PoolTimeout if the instance has as many children of one client as it may.
        """
        if isinstance(instance, HttpInstance):
            await self.session(instance, deadline_ns)
        elif isinstance(instance, StdioInstance) and self.own_child:
            if instance not in self.children:
                await self._once(instance, lambda: self._open_child(instance, deadline_ns))
            return self.children[instance]
        return instance

    async def _once(self, instance: Instance, work: Any) -> None:
        """Several requests of one client may come first; they share one opening."""
        task = self._opening.get(instance)
        if task is None:
            task = self._opening[instance] = instance.spawn(self._opened(instance, work()))
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            if task.cancelled() and not _is_cancelled():
                raise self._over(instance) from None
            raise

    async def _opened(self, instance: Instance, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
            if self.level is not None:
                await self._tell_level(instance, self.level)
        finally:
            self._opening.pop(instance, None)
        if self.ended:
            self.leave(instance)
            raise self._over(instance)

    async def _open_session(self, instance: HttpInstance, deadline_ns: int) -> None:
        self._levels.pop(instance, None)
        session, _ = await instance.open_session(deadline_ns, self.hello)
        self[instance] = session
        if session is not None and self.asked:
            opened = asyncio.Event()
            self._listening[instance] = instance.spawn(listen(instance, self, session, opened))
            with contextlib.suppress(TimeoutError):  # what it asks first must not be lost, and must not hold us up
                async with asyncio.timeout(_LISTENING_S):
                    await opened.wait()

    async def _open_child(self, instance: StdioInstance, deadline_ns: int) -> None:
        await instance.seats.enter(deadline_ns)
        child = OwnChild(instance, self.hello, lambda: self._begins(instance))
        instance.own_children.add(child)
        try:
            await child.ready()
        except BaseException:
            instance.end_child(child)
            raise
        self.children[instance] = child
        self[instance] = None

    def _over(self, instance: Instance) -> CrossfadeError:
        name = instance.spec.name
        return ManagerClosed(f"the session with server {name!r} is over; call again", server=name)

    # -- what the client says to all of them

    async def set_level(self, level: str, only: Instance | None = None) -> None:
        """Have the servers log from ``level`` on, those that can; a failure is theirs, and they log as before."""
        self.level = level
        instances = [only] if only is not None else list(self)
        await asyncio.gather(*(self._tell_level(i, level) for i in instances if i in self))

    async def _tell_level(self, instance: Instance, level: str) -> None:
        peer = instance.peer
        if peer is None or "logging" not in peer.capabilities or self._levels.get(instance) == level:
            return
        self._levels[instance] = level
        target: Instance = self.children.get(instance, instance)
        sessions = self if target is instance else None
        params = encode({"level": level})
        try:
            await target.request("logging/setLevel", params, monotonic_ns() + _LEVEL_NS, sessions=sessions)
        except CrossfadeError:
            self._levels.pop(instance, None)

    def _begins(self, instance: StdioInstance) -> None:
        """A child has been started; one that is not the first knows nothing of the level that the one before had."""
        self._levels.pop(instance, None)
        if self.level is not None and instance in self.children:
            instance.spawn(self._tell_level(instance, self.level))

    def voice(self) -> Voice | None:
        """Whom a question reaches that belongs to no request."""
        return self.home() or (self.voices[-1] if self.voices else None)

    def tell(self, note: bytes) -> None:
        """A notification of the client's to all of them."""
        for instance, session in self.items():
            if isinstance(instance, HttpInstance):
                instance.spawn(instance.notify(session, note))
            elif (child := self.children.get(instance)) is not None:
                child.tell(note)

    # -- the end

    def leave(self, instance: Instance) -> None:
        """End the one with this instance, if there is one."""
        session = self.pop(instance, None)
        if (listening := self._listening.pop(instance, None)) is not None:
            listening.cancel()
        self._levels.pop(instance, None)
        child = self.children.pop(instance, None)
        if session is not None and isinstance(instance, HttpInstance):
            instance.spawn(instance.close_session(session))
        if child is not None and isinstance(instance, StdioInstance):
            instance.end_child(child)

    def end(self) -> None:
        """The client is gone."""
        self.ended = True
        for instance in list(self):
            self.leave(instance)


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
