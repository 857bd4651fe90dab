"""Owns the calls at legacy servers that wait for a modern client's input, between the round that asked and its retry.

A legacy server asks in the middle of a call and keeps the call open; a modern client is answered with
``input_required`` and comes back with another request (2026-07-28 basic/patterns/mrtr). What the client brings back is
a stranger's word, so ``state_token`` authenticates it. Rules: a round is answered once; a call nobody comes back to is
cancelled upstream after ``gateway.inputTimeoutMs``; a call belongs to one principal and one request, and whoever shows
anything else learns nothing and disturbs nobody; there is a bounded number of them.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Coroutine
from typing import Any, Final, NamedTuple

from crossfade.impls.errors import LoadShed, UnknownTarget
from crossfade.impls.python import state_token
from crossfade.impls.python.gateway.asked_voice import AskedVoice
from crossfade.impls.python.gateway.voices import ClientVoice
from crossfade.impls.python.rounds import Retry, input_required, state_text

MOST: Final = 1024

Work = Callable[[], Coroutine[Any, Any, bytes]]


class Claim(NamedTuple):
    """Whose call it is, and which request it answers."""

    principal: str
    digest: bytes


class _Call:
    """One call. ``round`` counts the tokens given out; ``task`` is the request upstream."""

    __slots__ = ("claim", "id", "round", "task", "timer", "voice", "waited_for")

    def __init__(self, claim: Claim, voice: AskedVoice, task: asyncio.Task[bytes]) -> None:
        self.id = os.urandom(state_token.CALL_BYTES)
        self.claim = claim
        self.voice = voice
        self.task = task
        self.round = 0
        self.waited_for = True
        self.timer: asyncio.TimerHandle | None = None


class SuspendedCalls:
    """Those of one gateway."""

    __slots__ = ("_calls", "_key", "_tasks", "_timeout_ms")

    def __init__(self, timeout_ms: int) -> None:
        self._key = os.urandom(state_token.KEY_BYTES)
        self._timeout_ms = timeout_ms
        self._calls: dict[bytes, _Call] = {}
        self._tasks: set[asyncio.Task[bytes]] = set()

    def __len__(self) -> int:
        return len(self._calls)

    async def start(self, claim: Claim, voice: ClientVoice, work: Work, ended: Callable[[], None]) -> bytes:
        """Run a request that may have to wait for input: its result, or that of its first round.

        ``ended`` is called when it is over upstream, however.
        """
        assert isinstance(voice, AskedVoice)  # noqa: S101  whoever cannot be asked does not wait
        task = asyncio.get_running_loop().create_task(_begun(work))
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        task.add_done_callback(lambda _: ended())
        return await self._wait(_Call(claim, voice, task))

    async def resume(self, claim: Claim, retry: Retry, voice: ClientVoice) -> bytes:
        """Go on with the call that the retry names; ``voice`` is the new request's. Raises UnknownTarget."""
        call = self._find(claim, retry)
        if call.timer is not None:
            call.timer.cancel()
        call.waited_for = True
        call.voice.attach(voice)
        if not call.task.done():
            call.voice.answer(retry.responses)
        return await self._wait(call)

    def _find(self, claim: Claim, retry: Retry) -> _Call:
        token = "" if retry.state is None else state_text(retry.state)
        state = state_token.read(self._key, token, time.time_ns() // 1_000_000, *claim)
        call = None if isinstance(state, str) else self._calls.get(state.call)
        if call is None or isinstance(state, str) or call.waited_for or call.round != state.round:
            raise UnknownTarget(
                "requestState is not that of a call that waits for this input (it is used up, too old, or another "
                "request's); send the request again without it"
            )
        return call

    async def _wait(self, call: _Call) -> bytes:
        """The result of the call, or of its next round."""
        try:
            await call.voice.next_round(call.task)
        except asyncio.CancelledError:  # the client has gone away, or cancelled
            self._give_up(call)
            raise
        if call.task.done():
            self._forget(call)
            return call.task.result()
        if len(self._calls) >= MOST and call.id not in self._calls:
            self._give_up(call)
            raise LoadShed(f"{MOST} calls wait for their clients' input already; call again later")
        return self._suspend(call)

    def _suspend(self, call: _Call) -> bytes:
        call.round += 1
        call.waited_for = False
        call.voice.detach()
        self._calls[call.id] = call
        timeout_s = self._timeout_ms / 1000
        call.timer = asyncio.get_running_loop().call_later(timeout_s, self._give_up, call)
        expiry_ms = time.time_ns() // 1_000_000 + self._timeout_ms
        state = state_token.State(call.id, call.round)
        return input_required(call.voice.asking(), state_token.make(self._key, state, expiry_ms, *call.claim))

    # -- endings

    def _give_up(self, call: _Call) -> None:
        self._forget(call)
        call.task.cancel()

    def _forget(self, call: _Call) -> None:
        self._calls.pop(call.id, None)
        if call.timer is not None:
            call.timer.cancel()
        call.voice.close()

    def _ended(self, task: asyncio.Task[bytes]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # of a call that nobody came back to, nobody will ask

    def close(self) -> None:
        """The gateway ends."""
        for call in list(self._calls.values()):
            self._forget(call)
        for task in list(self._tasks):
            task.cancel()


async def _begun(work: Work) -> bytes:
    """A task that is cancelled before its first step must not leave a coroutine behind that nobody awaits."""
    return await work()
