"""Owns a change of the number of instances of the revision that serves.

Rule: new instances get calls when all of them have passed the gate, or none is kept; the last slots are drained first.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec

from crossfade.impls.errors import CrossfadeError, DeploymentFailed
from crossfade.impls.python.gate import drain, pass_gate

if TYPE_CHECKING:
    from crossfade.impls.python.instance import Instance
    from crossfade.impls.python.server import Server


async def scale(server: Server, count: int) -> None:
    """Start or drain instances until there are ``count``. Raises DeploymentFailed (then there are as many as before).

    Cancelled: the same as failed, without the error.
    """
    revision = server.current
    before = len(revision.instances)
    drain_s = revision.spec.deploy.drain_ms / 1000
    if count > before:
        revision.resize(count)
        try:
            new = [revision.create(slot) for slot in range(before, count)]
            await _pass_all(server, new)
        except BaseException:
            started = [i for i in revision.present() if i.index >= before]
            await asyncio.shield(_leave(server, started, 0, before))
            raise
        for instance in new:
            revision.admit(instance)
    elif count < before:
        await asyncio.shield(_leave(server, [i for i in revision.present() if i.index >= count], drain_s, count))
    revision.spec = server.spec = msgspec.structs.replace(revision.spec, instances=count)


async def _pass_all(server: Server, instances: list[Instance]) -> None:
    deploy, name = server.spec.deploy, server.spec.name
    try:
        async with asyncio.timeout(deploy.gate_timeout_ms / 1000):
            await asyncio.gather(*(pass_gate(instance) for instance in instances))
    except TimeoutError:
        raise DeploymentFailed(
            f"server {name!r} was not scaled: gate health: not every new instance was healthy within "
            f"{deploy.gate_timeout_ms} ms; look at the server, or raise deploy.gateTimeoutMs",
            server=name,
        ) from None
    except CrossfadeError as error:
        raise DeploymentFailed(
            f"server {name!r} was not scaled: gate start: {error}; fix it and scale again",
            server=name,
        ) from None


async def _leave(server: Server, instances: list[Instance], drain_s: float, count: int) -> None:
    for instance in instances:
        server.retire(instance)
    await asyncio.gather(*(drain(instance, drain_s) for instance in instances))
    server.current.resize(count)
