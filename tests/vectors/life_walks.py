"""The walks of ``generate.py`` for the cores that follow an instance's life: its health, its restarts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.vectors.walk import STEPS, Walk

from crossfade.impls.cores.rng import SplitMix64


def health(number: int, rng: SplitMix64) -> dict[str, Any]:
    walk = Walk("health", number, {"unhealthy_after": rng.below(5), "healthy_after": rng.below(4)}, rng)
    luck = 500
    for _ in range(STEPS):
        if walk.chance(150):
            luck = walk.one_of(100, 500, 900)
        walk.step("record", walk.chance(luck))
        walk.step("healthy")
    return walk.vector


def restart(number: int, rng: SplitMix64) -> dict[str, Any]:
    config = {
        "base_ns": 1 + rng.below(20),
        "cap_ns": 1 + rng.below(400),
        "reset_after_ns": 20 + rng.below(60),
        "max_restarts": rng.below(7),
        "window_ns": 100 + rng.below(900),
    }
    walk = Walk("restart", number, config, rng)
    for _ in range(STEPS):
        uptime_ns = rng.below(100 if walk.chance(300) else 10)
        walk.now_ns += uptime_ns
        delay_ns = walk.step("exited", uptime_ns)
        down_until_ns = walk.step("down_until_ns")
        if walk.chance(50):
            walk.step("reset")
        elif delay_ns >= 0:
            walk.now_ns += delay_ns
        else:
            walk.now_ns = down_until_ns
    return walk.vector


LIFE_WALKS: dict[str, tuple[Callable[[int, SplitMix64], dict[str, Any]], int]] = {
    "health": (health, 8),
    "restart": (restart, 16),
}
"""Kind to its walk, and how many of them are kept."""
