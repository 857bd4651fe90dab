"""Owns the probes: the ones that somebody asks for, and those that nobody does, every ``health.interval_ms``.

Rules: whoever asks on purpose gets the state of now. Of the others, one round runs at the same time, and the next one
begins when all have ended, so that a server that hangs has one probe in it and never a pile. A round is a verdict on
each instance, no more: hysteresis turns the state. A lazy server that nobody has used is not started by a probe.
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


async def ask(instance: Instance, timeout_s: float) -> None:
    """Ask on purpose: the answer, or its absence, is the state."""
    try:
        async with asyncio.timeout(timeout_s):
            peer = await instance.ready()
            await instance.probe(peer, monotonic_ns() + int(timeout_s * 1e9))
    except TimeoutError:
        instance.failed(_silence(instance, int(timeout_s * 1000)))
    except CrossfadeError as error:
        instance.failed(error)
    else:
        instance.recovered()


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
    timeout_ms = instance.spec.health.timeout_ms
    try:
        async with asyncio.timeout(timeout_ms / 1000):
            peer = await instance.ready()
            # The deadline of the request lies behind ours, so that there is one verdict on a silence: this one.
            await instance.probe(peer, monotonic_ns() + 2 * timeout_ms * 1_000_000)
    except TimeoutError:
        instance.last_error = _silence(instance, timeout_ms)
        instance.heard(False)
    except CrossfadeError as error:
        # Whoever failed has told the instance already, and one that was too busy to be asked is not ill.
        instance.last_error = error


def _silence(instance: Instance, timeout_ms: int) -> ServerTimeout:
    name = instance.spec.name
    return ServerTimeout(
        f"server {name!r} did not answer a probe within {timeout_ms} ms; look at the server, or give it more time",
        server=name,
    )
