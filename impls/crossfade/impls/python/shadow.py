"""Owns the copies of safe reads that a new revision gets before it serves, and their comparison with what was answered.

Rule: the caller's answer never waits for a copy, and copies never pile up: beyond ``_AT_ONCE`` a read is not copied.
Answers are equal if they are the same JSON but for ``_meta``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from time import monotonic_ns
from typing import TYPE_CHECKING, Any, Final

import msgspec

from crossfade.impls.errors import CrossfadeError
from crossfade.impls.python.ask import encode_params

if TYPE_CHECKING:
    from crossfade.impls.python.revision import Revision
    from crossfade.impls.python.server import Server

_AT_ONCE: Final = 16
SAFE: Final = frozenset({"resources/read", "prompts/get", "completion/complete"})


class Shadow:
    """Copies to ``candidate``; ``compared`` is told of every one."""

    def __init__(self, server: Server, candidate: Revision, compared: Callable[[bool], None]) -> None:
        self._server = server
        self._candidate = candidate
        self._compared = compared
        self._tasks: set[asyncio.Task[None]] = set()
        self._turn = 0

    def copy(
        self, method: str, fields: Mapping[str, object], meta: Mapping[str, Any] | None, name: str | None, answer: bytes
    ) -> None:
        """A call was answered: if it was a safe read, ask the candidate the same."""
        if method not in SAFE or len(self._tasks) >= _AT_ONCE:
            return
        instances = [i for i in self._candidate.present() if self._candidate.live >> i.index & 1]
        if not instances:
            return
        self._turn += 1
        instance = instances[self._turn % len(instances)]

        async def ask() -> bytes:
            peer = await instance.ready()
            deadline_ns = monotonic_ns() + self._server.timeout_ns
            return await instance.request(method, encode_params(peer.era, fields, meta), deadline_ns, name=name)

        task = instance.spawn(self._compare(ask(), answer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _compare(self, asked: Coroutine[Any, Any, bytes], answer: bytes) -> None:
        try:
            found = await asked
        except CrossfadeError:
            self._compared(False)
        else:
            self._compared(_plain(found) == _plain(answer))


def _plain(answer: bytes) -> Any:
    try:
        found = msgspec.json.decode(answer)
    except msgspec.DecodeError:
        return answer
    if isinstance(found, dict):
        found.pop("_meta", None)
    return found
