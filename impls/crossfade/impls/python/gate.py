"""Owns the two ends of an instance's service: the health gate it passes before its first call, and the drain after its
last one.

Rule: nobody is called before the gate, and nobody is closed while a call is with it, but for the drain's limit.
"""

from __future__ import annotations

import asyncio
from time import monotonic_ns
from typing import TYPE_CHECKING, Final

from crossfade.impls.errors import CrossfadeError, ServerStartError
from crossfade.impls.states import ServerState

if TYPE_CHECKING:
    from crossfade.impls.python.instance import Instance

_PAUSE_S: Final = 0.05
_POLL_S: Final = 0.005


async def pass_gate(instance: Instance) -> None:
    """Start the instance and probe it until ``health.healthy_after`` probes in a row were answered.

    Raises CrossfadeError if it does not start, or after ``health.unhealthy_after`` failed probes in a row. How long all
    of it may take is for the caller to say.
    """
    health = instance.spec.health
    peer = await instance.ready()
    good = bad = 0
    while good < health.healthy_after:
        try:
            async with asyncio.timeout(health.timeout_ms / 1000):
                await instance.probe(peer, monotonic_ns() + health.timeout_ms * 1_000_000)
        except (CrossfadeError, TimeoutError) as error:
            good, bad = 0, bad + 1
            if bad >= health.unhealthy_after:
                raise ServerStartError(
                    f"server {instance.spec.name!r} started and then failed {bad} probes in a row "
                    f"({error or f'no answer within {health.timeout_ms} ms'}); look at the server, or raise "
                    f"health.timeoutMs{instance.words()}",
                    server=instance.spec.name,
                ) from None
            await asyncio.sleep(_PAUSE_S)
        else:
            good, bad = good + 1, 0


def busy(instance: Instance) -> bool:
    """Whether a call is with it, queues for it, or has just chosen it."""
    return instance.users > 0 or instance.pool.in_use > 0 or instance.pool.waiting > 0


async def drain(instance: Instance, drain_s: float, *, keep: bool | None = None) -> None:
    """Wait until the calls of a retired instance have ended, at most ``drain_s`` seconds; then close it for good.

    ``keep`` keeps its storage for the instance that comes after it; None does what its claim says.
    """
    deadline = monotonic_ns() + int(drain_s * 1e9)
    while busy(instance) and monotonic_ns() < deadline:  # noqa: ASYNC110  counters of the hot path
        await asyncio.sleep(_POLL_S)
    instance.server.retired(instance)
    try:
        await instance.stop()
    finally:
        instance.kill()
        instance.server.gone(instance)
        instance.server.instance_changed()
        instance.state = ServerState.STOPPED
        await instance.release_storage(keep)
