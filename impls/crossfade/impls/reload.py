"""Hot reload: from the configuration that runs to another one, touching only the servers that differ.

Rule: a server whose specification is the same is not looked at; one that cannot be brought to its new specification
goes on with its old one. What belongs to the whole manager (gateway, limits, storage, telemetry) is read at start only,
and said so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from crossfade.impls.config import Config, ServerSpec
from crossfade.impls.errors import CrossfadeError

if TYPE_CHECKING:
    from crossfade.impls.api import Manager


@dataclass(frozen=True, slots=True)
class Changes:
    """What differs between two configurations, and after :func:`apply` what became of it.

    ``failed`` maps a server to the reason why it stays as it was. ``restart`` names the sections that differ and are
    only read at start.
    """

    added: tuple[ServerSpec, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[ServerSpec, ...] = ()
    restart: tuple[str, ...] = ()
    failed: dict[str, CrossfadeError] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed or self.restart)

    def __str__(self) -> str:
        """One line for a person."""
        parts = [
            f"{len(names)} {verb} ({', '.join(names)})"
            for verb, names in (
                ("added", [s.name for s in self.added if s.name not in self.failed]),
                ("updated", [s.name for s in self.changed if s.name not in self.failed]),
                ("removed", [name for name in self.removed if name not in self.failed]),
                ("failed and left as before", list(self.failed)),
            )
            if names
        ]
        if self.restart:
            parts.append(f"{', '.join(self.restart)} changed and counts after a restart only")
        return "; ".join(parts) or "nothing changed"


def plan(old: Config, new: Config) -> Changes:
    """What to do. Order of keys and defaults written out make no difference."""
    before = {spec.name: spec for spec in old.servers}
    after = {spec.name: spec for spec in new.servers}
    return Changes(
        added=tuple(spec for spec in new.servers if spec.name not in before),
        removed=tuple(name for name in before if name not in after),
        changed=tuple(spec for spec in new.servers if spec.name in before and spec != before[spec.name]),
        restart=tuple(
            section.encode_name
            for section in msgspec.structs.fields(Config)
            if section.name != "servers" and getattr(old, section.name) != getattr(new, section.name)
        ),
    )


async def apply(manager: Manager, new: Config, *, drain_s: float = 5.0) -> Changes:
    """Bring ``manager`` to ``new`` and set its ``config`` to what runs then. Servers change concurrently.

    Removals go first, so that their storage is there for what is added. No error of one server stops the others.
    """
    changes = plan(manager.config, new)
    await _each(changes, {name: manager.unregister(name, drain_s=drain_s) for name in changes.removed})
    await _each(
        changes,
        {spec.name: manager.update(spec) for spec in changes.changed}
        | {spec.name: manager.register(spec) for spec in changes.added},
    )
    manager.config = _reached(manager.config, new, changes)
    return changes


async def _each(changes: Changes, work: dict[str, Coroutine[Any, Any, Any]]) -> None:
    results = await asyncio.gather(*work.values(), return_exceptions=True)
    for name, result in zip(work, results, strict=True):
        if isinstance(result, CrossfadeError):
            changes.failed[name] = result
        elif isinstance(result, BaseException):
            raise result


def _reached(old: Config, new: Config, changes: Changes) -> Config:
    """``new``, but for the servers that failed, which are as they were, and for what only a restart changes."""
    before = {spec.name: spec for spec in old.servers}
    servers = [before.get(spec.name) if spec.name in changes.failed else spec for spec in new.servers]
    servers += [before[name] for name in changes.removed if name in changes.failed]
    return msgspec.structs.replace(old, servers=tuple(spec for spec in servers if spec is not None))
