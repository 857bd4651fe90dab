"""Owns what is deployed under one name: its revisions by number, its state, and the one change that may be under way.

Rule: one change at a time; whoever waits for it may go away, the change still ends in one of the states at rest.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Final

from crossfade.impls.config import ServerSpec
from crossfade.impls.cores.rollout_plan import RolloutConfig
from crossfade.impls.errors import ConfigError, DeploymentBusy, DeploymentFailed
from crossfade.impls.python.revision import Revision
from crossfade.impls.python.scaling import scale
from crossfade.impls.python.update import Update
from crossfade.impls.snapshots import DeploymentInfo, Event
from crossfade.impls.states import DeploymentState, Strategy

if TYPE_CHECKING:
    from crossfade.impls.python.server import Server

_HISTORY: Final = 10


def strategy_of(name: Strategy | str | None, default: Strategy) -> Strategy:
    """Raises ConfigError for one that does not exist."""
    try:
        return Strategy(default if name is None else name)
    except ValueError:
        raise ConfigError(
            f"strategy {str(name or default)!r} is unknown; choose one of {', '.join(Strategy)}"
        ) from None


class Deployment:
    """The deployment of one server. ``history`` holds the revisions that ``rollback`` may return to, newest last."""

    def __init__(self, server: Server, state: DeploymentState) -> None:
        self.server = server
        self.state = state
        self.strategy: Strategy | None = None
        self.message: str | None = None
        self.history: deque[tuple[int, ServerSpec]] = deque(maxlen=_HISTORY)
        self.update: Update | None = None
        self._numbers = 1
        self._work: asyncio.Task[None] | None = None
        self._abort: Callable[[], object] = lambda: None

    # -- changes

    async def roll_out(self, spec: ServerSpec, strategy: Strategy, seed: int, *, number: int | None = None) -> None:
        """Replace the current revision; an empty one is a first deployment. ``number`` is of an older revision to
        return to. Raises DeploymentBusy, DeploymentFailed.
        """
        self.check_idle()
        first = self.server.current.number == 0
        if number is None and not first:
            self._numbers += 1
        candidate = Revision(self.server, number or self._numbers, spec, seed)
        old = len(self.server.current.present())
        config = RolloutConfig.from_spec(spec.deploy, strategy, old, spec.replicas)
        update = Update(self.server, candidate, config)
        self.update, self.strategy, self.message = update, strategy, None
        self.set_state(DeploymentState.STARTING if first else DeploymentState.UPDATING)
        await self._conduct(self._roll_out(update, first=first, back=number is not None), update.abort)

    async def _roll_out(self, update: Update, *, first: bool, back: bool) -> None:
        old = update.old
        try:
            reason = await update.run()
        finally:
            self.update = None
        if reason is None:
            if back:
                self.history.pop()
            elif not first:
                self.history.append((old.number, old.spec))
            self.set_state(DeploymentState.RUNNING)
            return
        self.message = _why(update, reason)
        self.set_state(DeploymentState.FAILED if first else DeploymentState.ROLLED_BACK)
        raise DeploymentFailed(self.message, server=self.server.spec.name) from update.trouble

    async def scale(self, count: int) -> None:
        """Change the number of instances. Raises DeploymentBusy, DeploymentFailed."""
        self.check_idle()
        self.strategy, self.message = None, None
        self.set_state(DeploymentState.SCALING)
        await self._conduct(self._scale(count))

    async def _scale(self, count: int) -> None:
        end = DeploymentState.ROLLED_BACK
        try:
            await scale(self.server, count)
            end = DeploymentState.RUNNING
        except DeploymentFailed as error:
            self.message = error.message
            raise
        finally:
            self.set_state(end)

    async def _conduct(self, work: Coroutine[None, None, None], abort: Callable[[], object] | None = None) -> None:
        """Wait for a change that runs on its own. If the waiting is cancelled, the change is undone first."""
        task = self._work = asyncio.get_running_loop().create_task(work)
        self._abort = abort = abort or task.cancel
        task.add_done_callback(_retrieved)
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            abort()
            await asyncio.wait([task])
            raise

    def check_idle(self) -> None:
        """Raises DeploymentBusy while something is under way."""
        if self._work is not None and not self._work.done():
            name = self.server.spec.name
            raise DeploymentBusy(
                f"server {name!r} is {self.state} already; wait for it, or call rollback({name!r})", server=name
            )

    async def abort(self) -> bool:
        """Roll back what is under way and wait for it. False if nothing is."""
        if self._work is None or self._work.done():
            return False
        self._abort()
        await asyncio.wait([self._work])
        return True

    async def end(self) -> None:
        """The server goes: stop working on it."""
        if self._work is not None and not self._work.done():
            self._work.cancel()
            await asyncio.wait([self._work])
        self.set_state(DeploymentState.STOPPING)

    def set_state(self, state: DeploymentState) -> None:
        """Tell of a change."""
        if state is not self.state:
            old, self.state = self.state, state
            self.server.publish(Event(kind="deployment", server=self.server.spec.name, old=old, new=state))

    # -- snapshots

    def info(self) -> DeploymentInfo:
        """What ``Manager.deployments`` returns."""
        server, update = self.server, self.update
        core = update.core if update is not None else None
        live = server.current.live.bit_count() + (server.candidate.live.bit_count() if server.candidate else 0)
        return DeploymentInfo(
            name=server.spec.name,
            state=self.state,
            revision=server.current.number,
            desired=(update.new if update is not None else server.current).spec.replicas,
            ready=live,
            strategy=self.strategy,
            candidate=server.candidate.number if server.candidate is not None else None,
            share_percent=core.share if core is not None else 0,
            samples=core.samples if core is not None else 0,
            failures=core.failures if core is not None else 0,
            previous=self.history[-1][0] if self.history else None,
            message=self.message,
        )


def _retrieved(task: asyncio.Task[None]) -> None:
    """Whoever asked for the change may be gone; ``message`` tells what came of it."""
    if not task.cancelled():
        task.exception()


def _why(update: Update, reason: str) -> str:
    """The gate that was not passed, and what to do."""
    spec, core, deploy = update.new.spec, update.core, update.config
    verdict = f"server {spec.name!r}: revision {update.new.number} was rolled back: "
    if reason == "start_failed":
        return f"{verdict}gate start: {update.trouble}; fix its specification and update again"
    if reason == "gate_timeout":
        return (
            f"{verdict}gate health: not every new instance was healthy within {spec.deploy.gate_timeout_ms} ms; "
            "look at the server, or raise deploy.gateTimeoutMs"
        )
    if reason == "too_few_samples":
        shadow = deploy.strategy == Strategy.SHADOW
        gate = "shadow" if shadow else f"canary at {deploy.steps_percent[core.step]} % of the traffic"
        answers = "copied answers" if shadow else "answers"
        return (
            f"{verdict}gate {gate}: {core.samples} of the {deploy.min_samples} {answers} that judge it came within "
            f"{spec.deploy.step_timeout_ms} ms; lower deploy.minSamples (0 for a server that nobody asks), raise "
            "deploy.stepTimeoutMs, or choose another strategy"
        )
    if reason == "failures":
        return (
            f"{verdict}gate canary at {deploy.steps_percent[core.step]} % of the traffic: {core.failures} of "
            f"{core.samples} answers failed, {deploy.max_failure_per_mille} per mille may; look at the new revision"
        )
    if reason == "differences":
        return (
            f"{verdict}gate shadow: {core.failures} of {core.samples} copied answers differed, "
            f"{deploy.max_failure_per_mille} per mille may; look at the new revision"
        )
    return f"{verdict}it was aborted; update again when you want it"
