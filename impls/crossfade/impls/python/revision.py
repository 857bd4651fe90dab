"""Owns the instances that run one specification of a server, and the choice among them.

Rule: ``live`` says which of them may get calls. An instance that is started, drained or gone is not in it, and nothing
but the balancer's pick among the live ones decides who is called.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from crossfade.impls.config import ServerSpec
from crossfade.impls.cores import Balancer
from crossfade.impls.python.upstream_http import HttpInstance
from crossfade.impls.python.upstream_stdio import StdioInstance
from crossfade.impls.states import ServerState

if TYPE_CHECKING:
    from crossfade.impls.python.instance import Instance
    from crossfade.impls.python.server import Server


class Revision:
    """One specification and its replicas. ``instances`` is indexed by slot; a slot is None while nobody has it."""

    __slots__ = ("balancer", "ill", "instances", "live", "number", "seed", "server", "spec")

    def __init__(self, server: Server, number: int, spec: ServerSpec, seed: int) -> None:
        self.server = server
        self.number = number
        self.spec = spec
        self.seed = seed
        self.balancer: Balancer = server.cores.balancer(spec.balancer, spec.replicas, spec.weights, seed)
        self.instances: list[Instance | None] = [None] * spec.replicas
        self.live = 0
        self.ill = 0

    def create(self, slot: int) -> Instance:
        """A new instance in a free slot; nothing is started, and it is not live.

        Raises StorageExhausted, ServerStartError.
        """
        wanted = self.spec.storage
        claim = self.server.storage.claim(self.spec.name, wanted) if wanted is not None else None
        instance: Instance = (
            HttpInstance(self, slot, self.spec.urls[slot]) if self.spec.urls else StdioInstance(self, slot)
        )
        instance.claim = claim
        self.instances[slot] = instance
        self.ill &= ~(1 << slot)
        self.server.rearranged()
        return instance

    def admit(self, instance: Instance) -> None:
        """Let the instance have calls."""
        self.live |= 1 << instance.index
        self.server.rearranged()

    def remove(self, instance: Instance) -> None:
        """No more calls; its slot is free."""
        if self.instances[instance.index] is instance:
            self.instances[instance.index] = None
            self.live &= ~(1 << instance.index)
            self.server.rearranged()

    def resize(self, count: int) -> None:
        """Room for ``count`` instances; slots that fall away must be free."""
        self.balancer.resize(count)
        del self.instances[count:]
        self.instances.extend([None] * (count - len(self.instances)))
        self.server.rearranged()

    def told(self, instance: Instance) -> None:
        """An instance has changed its state. Only probes find out when an ill one is well again, so that without them
        none is left out.
        """
        bit = 1 << instance.index
        if self.spec.health.interval_ms and instance.state is ServerState.UNHEALTHY:
            self.ill |= bit
        else:
            self.ill &= ~bit

    def present(self) -> list[Instance]:
        """Every instance there is, in order of their slots."""
        return [instance for instance in self.instances if instance is not None]

    def pick(self, now_ns: int, tried: Sequence[Instance] = (), key: int = 0) -> Instance | None:
        """A live instance that its breaker admits, none of those ``tried``; None if there is none.

        Those that probes found ill come last. ``key`` is for affinity.
        """
        usable = self.live
        for instance in tried:
            if instance.revision is self:
                usable &= ~(1 << instance.index)
        ill = usable & self.ill
        return self._pick(now_ns, usable & ~ill, key) or (self._pick(now_ns, ill, key) if ill else None)

    def _pick(self, now_ns: int, usable: int, key: int) -> Instance | None:
        while usable and (i := self.balancer.pick(now_ns, usable, key)) >= 0:
            found = self.instances[i]
            if found is not None and found.breaker.admit(now_ns):
                return found
            usable &= ~(1 << i)
        return None
