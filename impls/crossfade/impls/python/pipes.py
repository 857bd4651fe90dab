"""Owns the HTTP+SSE streams with one URL: each is a session, the manager's own or one client's, known by its handle.

Rule: a stream that broke is opened anew by the next request, as a child that ended is started again.
"""

from __future__ import annotations

import asyncio
from time import monotonic_ns
from typing import TYPE_CHECKING

from crossfade.impls.errors import ServerError, ServerStartError
from crossfade.impls.python import discovery, jsonrpc
from crossfade.impls.python.http_ear import Ear
from crossfade.impls.python.upstream_sse import Pipe

if TYPE_CHECKING:
    from crossfade.impls.python.dedicated import Dedicated
    from crossfade.impls.python.peer import Peer
    from crossfade.impls.python.upstream_http import HttpInstance
    from crossfade.impls.python.voice import Voice


class Pipes:
    """The open ones of an instance."""

    __slots__ = ("_instance", "_open")

    def __init__(self, instance: HttpInstance) -> None:
        self._instance = instance
        self._open: dict[str, Pipe] = {}

    def __contains__(self, handle: str | None) -> bool:
        return handle in self._open

    async def open(self, request_id: int, body: bytes, deadline_ns: int) -> tuple[str | None, Peer]:
        """A new one, with its handshake done; ``body`` is the ``initialize``. Raises ServerError."""
        name = self._instance.spec.name
        pipe = Pipe(self._instance, self._lost)
        self._open[pipe.handle] = pipe
        try:
            async with asyncio.timeout((deadline_ns - monotonic_ns()) / 1e9):
                await pipe.open()
                peer = discovery.legacy_peer(await pipe.request(request_id, body, deadline_ns), name)
                await pipe.tell(jsonrpc.notification("notifications/initialized"), deadline_ns)
        except TimeoutError:
            pipe.close()
            raise ServerStartError(
                f"{pipe.who} did not name its endpoint in time; check the path of the URL", server=name
            ) from None
        except BaseException:
            pipe.close()
            raise
        return pipe.handle, peer

    async def request(
        self, request_id: int, body: bytes, deadline_ns: int, sessions: Dedicated | None, voice: Voice | None
    ) -> bytes:
        """One call, with a verdict. Raises CrossfadeError."""
        instance = self._instance
        instance.begin()
        started = monotonic_ns()
        handle: str | None = None
        try:
            handle = await instance.session_for(sessions, deadline_ns)
            if handle not in self._open:
                handle = await instance.session_for(sessions, deadline_ns, lost=handle)
            ear = Ear(instance, voice, handle) if voice is not None else None
            result = await self._pipe(handle).request(request_id, body, deadline_ns, ear)
        except asyncio.CancelledError:
            instance.tell_cancelled(handle, b"%d" % request_id)
            instance.abandon(monotonic_ns(), started)
            raise
        except ServerError:
            instance.done(monotonic_ns(), started, False)
            raise
        except BaseException:
            instance.done(monotonic_ns(), started, True)
            raise
        instance.done(monotonic_ns(), started, True)
        return result

    def _pipe(self, handle: str | None) -> Pipe:
        pipe = self._open.get(handle or "")
        if pipe is None:
            name = self._instance.spec.name
            raise ServerError(f"server {name!r} ended its event stream at once; look at the server", server=name)
        return pipe

    async def tell(self, handle: str | None, message: bytes, deadline_ns: int) -> None:
        """A notification or a response, if the stream is still there. Raises CrossfadeError."""
        pipe = self._open.get(handle or "")
        if pipe is not None:
            await pipe.tell(message, deadline_ns)

    def close(self, handle: str) -> None:
        """End one."""
        pipe = self._open.get(handle)
        if pipe is not None:
            pipe.close()

    def _lost(self, pipe: Pipe) -> None:
        self._open.pop(pipe.handle, None)
        self._instance.server.watched.poke()


async def older(
    instance: HttpInstance, status: int | None, request_id: int, body: bytes, deadline_ns: int
) -> tuple[str | None, Peer]:
    """The server takes no POST at its URL: that of 2024-11-05 has a stream there (basic/transports, "Backwards
    Compatibility"), or is told to have (``status`` None). Raises ServerStartError.
    """
    instance.pipes = Pipes(instance)
    try:
        return await instance.pipes.open(request_id, body, deadline_ns)
    except ServerError as error:
        instance.pipes = None
        how = "is of type sse, but" if status is None else f"answered HTTP {status} to initialize, and"
        raise ServerStartError(
            f"server {instance.spec.name!r} ({instance.url}) {how} gave no stream of 2024-11-05 ({error.message}); "
            "check the path of the URL",
            server=instance.spec.name,
        ) from None
