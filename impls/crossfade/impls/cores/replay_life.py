"""Owns the wire form of the cores that follow an instance's life; see ``replay.py`` for the rule.

``impls/rust/core/src/replay/life.rs`` is its twin.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from crossfade.impls.cores.bundle import Cores
from crossfade.impls.cores.health import HealthConfig
from crossfade.impls.cores.replay_path import Step
from crossfade.impls.cores.restart import RestartConfig


def _health(cores: Cores, config: Mapping[str, Any], _seed: int) -> dict[str, Step]:
    health = cores.health(HealthConfig(**config))
    return {"record": lambda _now, ok: health.record(ok), "healthy": lambda _now: health.healthy}


def _restart(cores: Cores, config: Mapping[str, Any], seed: int) -> dict[str, Step]:
    restart = cores.restart(RestartConfig(**config), seed)
    return {
        "exited": restart.exited,
        "down_until_ns": lambda _now: restart.down_until_ns(),
        "reset": lambda _now: restart.reset(),
    }


LIFE_KINDS: dict[str, Callable[[Cores, Mapping[str, Any], int], dict[str, Step]]] = {
    "health": _health,
    "restart": _restart,
}
