"""Owns the coming back of one child: when it may be started after it ended by itself, and who starts it.

Rules: the restart core decides the delay; a child that somebody needs (it is not lazy, or calls wait for it) is
started when the delay is over, another one on its next use; a call that comes meanwhile waits for it, if that is soon.
In a crash loop nobody starts it and its calls are refused at once, until the core's time is over or somebody asks on
purpose.
"""

from __future__ import annotations

import asyncio
from time import monotonic_ns
from typing import TYPE_CHECKING, Final

from crossfade.impls.cores.restart import RestartConfig
from crossfade.impls.errors import CrashLoop, CrossfadeError, ServerStartError
from crossfade.impls.snapshots import Event

if TYPE_CHECKING:
    from crossfade.impls.python.upstream_stdio import StdioInstance

_PATIENCE_NS: Final = 1_000_000_000


class Supervisor:
    """The restarts of one instance; ``restarts`` counts those that worked."""

    __slots__ = ("_config", "_core", "_last_pid", "_not_before_ns", "_timer", "_up_since_ns", "instance", "restarts")

    def __init__(self, instance: StdioInstance, seed: int) -> None:
        self.instance = instance
        self.restarts = 0
        self._config = instance.spec.restart
        self._core = instance.server.cores.restart(RestartConfig.from_spec(self._config), seed)
        self._not_before_ns = 0
        self._up_since_ns = 0
        self._last_pid = 0
        self._timer: asyncio.TimerHandle | None = None

    # -- what happened

    def up(self, pid: int) -> None:
        """A child has shaken hands."""
        self._up_since_ns = monotonic_ns()
        self._not_before_ns = 0
        last, self._last_pid = self._last_pid, pid
        if last:
            self.restarts += 1
            server = self.instance.server
            server.stats.restarts += 1
            server.publish(Event(kind="restart", server=server.spec.name, old=str(last), new=str(pid)))

    def down(self, error: CrossfadeError) -> CrossfadeError:
        """The child ended by itself, or did not start. Returns the error to tell, a CrashLoop if it is one."""
        if not self._config.enabled:
            return error
        now = monotonic_ns()
        since, self._up_since_ns = self._up_since_ns, 0
        delay_ns = self._core.exited(now, now - since if since else 0)
        if delay_ns < 0:
            delay_ns = self._core.down_until_ns() - now
            error = self._crash_loop(error, delay_ns)
        self._not_before_ns = now + delay_ns
        if self._is_needed():
            self._cancel_timer()
            self._timer = asyncio.get_running_loop().call_later(delay_ns / 1e9, self._start)
        return error

    def forgive(self) -> None:
        """Somebody wants it started now."""
        self._core.reset()
        self._not_before_ns = 0

    # -- who may start it

    async def may_start(self) -> None:
        """Wait for the end of the delay if that is soon. Raises CrashLoop, or ServerStartError until it is."""
        wait_ns = self._not_before_ns - monotonic_ns()
        if wait_ns <= 0:
            return
        if wait_ns <= _PATIENCE_NS and not self._core.down_until_ns():
            await asyncio.sleep(wait_ns / 1e9)
            return
        last = self.instance.last_error
        if isinstance(last, CrashLoop):
            raise last
        raise ServerStartError(
            f"{last or self.instance.spec.name} (next start in {wait_ns // 1_000_000} ms)",
            server=self.instance.spec.name,
        )

    def _is_needed(self) -> bool:
        instance = self.instance
        if instance.retired or instance.server.draining or not self._last_pid:
            return False
        return not instance.spec.lazy or instance.users > 0 or instance.pool.waiting > 0

    def _start(self) -> None:
        self._timer = None
        if self._is_needed():
            self.instance.spawn(self._restart())

    async def _restart(self) -> None:
        """Open a connection, as a call would; what fails is told by ``down``."""
        instance = self.instance
        try:
            conn = await instance.checkout(monotonic_ns() + instance.spec.start_timeout_ms * 1_000_000)
        except CrossfadeError as error:
            instance.last_error = instance.last_error or error
        else:
            instance.release(conn, True)

    def close(self) -> None:
        """No more restarts."""
        self._cancel_timer()

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _crash_loop(self, error: CrossfadeError, delay_ns: int) -> CrashLoop:
        name, spec = self.instance.spec.name, self._config
        return CrashLoop(
            f"server {name!r} ended more than {spec.max_restarts} times within {spec.window_ms} ms and stays down for "
            f"{delay_ns // 1_000_000} ms (last: {error}); fix the server, then update it or call health({name!r})",
            server=name,
        )
