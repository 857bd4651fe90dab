"""Owns the probes that nobody asks for: every ``health.interval_ms`` each instance of a server is asked for a sign of
life.

Rules: the probes of one round run at the same time, and the next round begins when all have ended, so that a server
that hangs has one probe in it and never a pile. A round is a verdict on each instance, no more: hysteresis turns the
state. A lazy server that nobody has used is not started by a probe.
"""

from __future__ import annotations

import asyncio
from time import monotonic_ns
from typing import TYPE_CHECKING

from crossfade.impls.errors import CrossfadeError, ServerTimeout
from crossfade.impls.states import ServerState

if TYPE_CHECKING:
    from crossfade.impls.python.instance import Instance
    from crossfade.impls.python.server import Server


async def watch(server: Server) -> None:
    """Probe the instances of ``server`` until cancelled, or until its specification has no interval any more."""
    while interval_ms := server.spec.health.interval_ms:
        await asyncio.sleep(interval_ms / 1000)
        await asyncio.gather(*(_probe(instance) for instance in server.instances if _is_due(instance)))


def _is_due(instance: Instance) -> bool:
    if instance.retired or instance.state is ServerState.STOPPED:
        return False
    return not (instance.spec.lazy and instance.state is ServerState.INITIALIZING)


async def _probe(instance: Instance) -> None:
    spec = instance.spec
    timeout_ms = spec.health.timeout_ms
    try:
        async with asyncio.timeout(timeout_ms / 1000):
            peer = await instance.ready()
            # The deadline of the request lies behind ours, so that there is one verdict on a silence: this one.
            await instance.probe(peer, monotonic_ns() + 2 * timeout_ms * 1_000_000)
    except TimeoutError:
        instance.last_error = ServerTimeout(
            f"server {spec.name!r} did not answer a probe within {timeout_ms} ms; look at the server, or raise "
            "health.timeoutMs",
            server=spec.name,
        )
        instance.heard(False)
    except CrossfadeError as error:
        # Whoever failed has told the instance already, and one that was too busy to be asked is not ill.
        instance.last_error = error
