"""Owns one update under way: it performs what the rollout core decides and reports to it what came of it.

Rule: every instance that it starts or retires is known to the server until it is closed, so that whoever cancels at
whichever await leaves nobody behind; and the core alone decides what happens next.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from time import monotonic_ns
from typing import TYPE_CHECKING, Any

from crossfade.impls.cores.rollout import Rollout
from crossfade.impls.cores.rollout_plan import Actions, RolloutConfig
from crossfade.impls.errors import CrossfadeError
from crossfade.impls.python.gate import drain, pass_gate
from crossfade.impls.python.shadow import Shadow
from crossfade.impls.states import Strategy

if TYPE_CHECKING:
    from crossfade.impls.python.instance import Instance
    from crossfade.impls.python.revision import Revision
    from crossfade.impls.python.server import Server


class Update:
    """From the server's current revision to ``candidate``. ``run`` once; ``abort`` at any time."""

    def __init__(self, server: Server, candidate: Revision, config: RolloutConfig) -> None:
        self.server = server
        self.old = server.current
        self.new = candidate
        self.config = config
        self.core = Rollout(config)
        self.trouble: CrossfadeError | None = None
        self.reason: str | None = None
        self._over = asyncio.Event()
        self._gates: set[asyncio.Task[None]] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None

    async def run(self) -> str | None:
        """None when the new revision serves, else why it was rolled back; then the old one serves alone."""
        self.server.propose(self.new)
        self._report(self.core.begin)
        try:
            await self._over.wait()
            while self._tasks or self._closing:
                await asyncio.wait(self._tasks | self._closing)
        finally:
            if self._timer is not None:
                self._timer.cancel()
            for task in (*self._gates, *self._tasks, *self._closing):
                task.cancel()
            self.server.hold(False)
            self.server.watch(None, None)
        claim = self.server.spec.storage
        if claim is None or not claim.keep:
            await self.server.storage.forget(self.server.spec.name)
        return self.reason

    def abort(self) -> None:
        """Roll back, unless it is over."""
        self._report(self.core.abort)

    def observed(self, ok: bool) -> None:
        """A candidate has answered a call."""
        self._report(self.core.sample, ok)

    def compared(self, equal: bool) -> None:
        """A candidate's answer to a copy was compared."""
        self._report(self.core.compared, equal)

    # -- reports and deadlines

    def _report(self, say: Callable[..., Actions], *words: bool) -> None:
        if self._over.is_set():
            return
        self._perform(say(monotonic_ns(), *words))
        if self._timer is not None:
            self._timer.cancel()
        due = self.core.next_deadline_ns()
        if due is not None:
            delay_s = max(0, due - monotonic_ns()) / 1e9
            self._timer = asyncio.get_running_loop().call_later(delay_s, self._report, self.core.tick)

    # -- actions

    def _perform(self, actions: Actions) -> None:
        for verb, *rest in actions:
            if verb == "start":
                self._start(rest[0])
            elif verb == "start_old":
                self._start_old(rest[0])
            elif verb == "share":
                self.server.share = rest[0]
            elif verb == "shadow":
                self.server.watch(None, Shadow(self.server, self.new, self.compared) if rest[0] else None)
            elif verb == "hold":
                self.server.hold(rest[0])
            elif verb == "retire_old":
                for instance in self._live(self.old)[-rest[0] :]:
                    self.server.retire(instance)
                    self._spawn(self._tasks, self._stop_old(instance))
            elif verb == "retire_new":
                self._retire_new()
            elif verb == "done":
                self.server.install(self.new)
                self._over.set()
            else:
                self.reason = rest[0]
                self.server.propose(None)
                self._over.set()
        judged = self.core.phase == "judging" and self.server.shadow is None
        if judged != (self.server.judge is not None):
            self.server.watch(self.observed if judged else None, self.server.shadow)

    def _start(self, count: int) -> None:
        slots = [slot for slot, instance in enumerate(self.new.instances) if instance is None]
        for slot in slots[:count]:
            try:
                instance = self.new.create(slot)
            except CrossfadeError as error:
                self._spawn(self._gates, self._refuse(error))
                return
            self._spawn(self._gates, self._gate(instance))

    async def _refuse(self, error: CrossfadeError) -> None:
        self.trouble = error
        self._report(self.core.start_failed)

    async def _gate(self, instance: Instance) -> None:
        try:
            await pass_gate(instance)
        except CrossfadeError as error:
            await self._refuse(error)
        else:
            self.new.admit(instance)
            self._report(self.core.ready)

    def _start_old(self, count: int) -> None:
        slots = [slot for slot, instance in enumerate(self.old.instances) if instance is None]
        for slot in slots[:count]:
            self._spawn(self._tasks, self._revive(slot))

    async def _revive(self, slot: int) -> None:
        """It served before, so it is asked only to start; one that does not is left to the supervisor."""
        while self._closing and self.config.strategy == Strategy.RECREATE:  # never two revisions at once
            await asyncio.wait(self._closing)
        try:
            instance = self.old.create(slot)
        except CrossfadeError as error:
            self.trouble = error
        else:
            try:
                await instance.ready()
            except CrossfadeError as error:
                instance.failed(error)
            self.old.admit(instance)
        self._report(self.core.revived)

    def _live(self, revision: Revision) -> list[Instance]:
        return [instance for instance in revision.present() if revision.live >> instance.index & 1]

    async def _stop_old(self, instance: Instance) -> None:
        # Its directory goes on to the next one: to a candidate, or after a rollback to its own revision.
        await drain(instance, self.config.drain_ns / 1e9, keep=True)
        self._report(self.core.stopped)

    def _retire_new(self) -> None:
        for gate in self._gates:
            gate.cancel()
        for instance in self.new.present():
            called = self.new.live >> instance.index & 1
            self.server.retire(instance)
            self._spawn(self._closing, drain(instance, self.config.drain_ns / 1e9 if called else 0, keep=True))

    def _spawn(self, group: set[asyncio.Task[None]], work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        group.add(task)
        task.add_done_callback(group.discard)
