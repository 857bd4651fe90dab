"""Owns what a call does for an update that runs meanwhile: wait while calls are held, keep its instance from being
closed under it, and tell how a candidate answered.

Rule: without an update it costs a look at a field.
"""

from __future__ import annotations

import asyncio
from time import monotonic_ns
from types import TracebackType
from typing import TYPE_CHECKING

from crossfade.impls.errors import CrossfadeError, RemoteError, ServerError, ServerTimeout
from crossfade.impls.python.jsonrpc import INTERNAL_ERROR

if TYPE_CHECKING:
    from crossfade.impls.python.instance import Instance
    from crossfade.impls.python.server import Server


async def let_in(server: Server, deadline_ns: int) -> None:
    """Wait until calls are not held any more. Raises ServerTimeout at the deadline of the call."""
    try:
        async with asyncio.timeout(max(0, deadline_ns - monotonic_ns()) / 1e9):
            while server.held is not None:
                await server.held.wait()
    except TimeoutError:
        raise ServerTimeout(
            f"server {server.spec.name!r} is being recreated and was not back in time; call again, or raise the "
            "timeout, or update with another strategy",
            server=server.spec.name,
        ) from None


class Use:
    """``with Use(instance)``: from the choice of an instance to its answer."""

    __slots__ = ("_instance",)

    def __init__(self, instance: Instance) -> None:
        self._instance = instance

    def __enter__(self) -> None:
        self._instance.users += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        instance = self._instance
        instance.users -= 1
        server = instance.server
        if server.judge is None or instance.revision is not server.candidate:
            return
        if error is None or isinstance(error, CrossfadeError):
            server.judge(not _blames(error))


def _blames(error: BaseException | None) -> bool:
    """Whether the candidate is to blame: it broke, or says itself that it did. A caller's mistake is no failure."""
    if isinstance(error, RemoteError):
        return error.remote_code == INTERNAL_ERROR
    return isinstance(error, ServerError)
