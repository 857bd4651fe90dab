"""Owns the manager's calls that change what is deployed; what each change does is in ``deployment`` and ``update``.

Rule: whatever is refused is refused before anything was started.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from crossfade.impls.api import Manager
from crossfade.impls.config import ServerSpec, check_replicas
from crossfade.impls.errors import ConfigError, DeploymentFailed
from crossfade.impls.python.deployment import strategy_of
from crossfade.impls.snapshots import DeploymentInfo
from crossfade.impls.states import Strategy

if TYPE_CHECKING:
    from crossfade.impls.python.catalog import Catalog
    from crossfade.impls.python.server import Server


class Deploying(Manager):
    """The part of the manager that deploys. ``_changed`` forgets what was known of a server's names and routes."""

    catalog: Catalog
    registry: dict[str, Server]

    def _check_open(self) -> None:
        """Raises ManagerClosed."""
        raise NotImplementedError

    def _add(self, spec: ServerSpec, *, deploy: bool = False) -> Server:
        """Register without starting; ``deploy`` leaves the starting to a deployment. Raises ServerExists."""
        raise NotImplementedError

    def _changed(self, name: str) -> None:
        """The server's names or instances are others now."""
        raise NotImplementedError

    def _next_seed(self) -> int:
        """Another seed for another balancer."""
        raise NotImplementedError

    async def deploy(self, spec: ServerSpec) -> DeploymentInfo:
        self._check_open()
        check_replicas(spec.name, spec.replicas)
        deployment = self._add(spec, deploy=True).deployment
        try:
            # All at once: there is nobody whose calls a surge could disturb.
            await deployment.roll_out(spec, Strategy.BLUE_GREEN, self._next_seed())
        except BaseException:
            await self.undeploy(spec.name, drain_s=0)
            raise
        self._changed(spec.name)
        return deployment.info()

    async def update(self, spec: ServerSpec, *, strategy: Strategy | str | None = None) -> DeploymentInfo:
        self._check_open()
        chosen = strategy_of(strategy, spec.deploy.strategy)
        check_replicas(spec.name, spec.replicas)
        return await self._update(spec, chosen)

    async def _update(self, spec: ServerSpec, strategy: Strategy, number: int | None = None) -> DeploymentInfo:
        server = self.catalog.server(spec.name)
        if spec.transport != server.spec.transport:
            raise ConfigError(
                f"server {spec.name!r} runs on {server.spec.transport} and an update cannot make it {spec.transport}; "
                "undeploy it and deploy anew, or use another name",
                server=spec.name,
            )
        deployment = server.deployment
        deployment.check_idle()
        if spec.storage is not None:
            server.storage.check(spec.name, spec.storage, _extra(server.spec, spec, strategy))
        try:
            await deployment.roll_out(spec, strategy, self._next_seed(), number=number)
        finally:
            self._changed(spec.name)
        return deployment.info()

    async def scale(self, name: str, instances: int) -> DeploymentInfo:
        self._check_open()
        server = self.catalog.server(name)
        deployment = server.deployment
        check_replicas(name, instances)
        deployment.check_idle()
        if server.spec.transport == "http":
            raise ConfigError(f"server {name!r} has one instance per URL; update its urls instead", server=name)
        if server.spec.weights:
            raise ConfigError(f"server {name!r} has a weight for each instance; update its specification", server=name)
        if server.spec.storage is not None:
            server.storage.check(name, server.spec.storage, max(0, instances - server.spec.instances))
        await deployment.scale(instances)
        return deployment.info()

    async def rollback(self, name: str) -> DeploymentInfo:
        self._check_open()
        deployment = self.catalog.server(name).deployment
        if not await deployment.abort():
            deployment.check_idle()
            if not deployment.history:
                raise DeploymentFailed(
                    f"server {name!r} has no revision before {deployment.server.current.number}; update it instead",
                    server=name,
                )
            number, spec = deployment.history[-1]
            return await self._update(spec, strategy_of(None, spec.deploy.strategy), number)
        return deployment.info()

    def deployments(self) -> list[DeploymentInfo]:
        return [server.deployment.info() for server in self.registry.values()]


def _extra(old: ServerSpec, new: ServerSpec, strategy: Strategy) -> int:
    """How many more instances there are at most, at once, while ``new`` replaces ``old``."""
    if old.storage is None or new.storage is None or old.storage.storage_class is not new.storage.storage_class:
        return new.replicas
    most = max(old.replicas, new.replicas)
    if strategy is Strategy.RECREATE:
        return most - old.replicas
    if strategy is Strategy.ROLLING:
        return min(new.replicas, most + new.deploy.max_surge - old.replicas)
    return new.replicas
