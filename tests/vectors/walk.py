"""Owns one generated vector: a random walk through a core that writes down what it did and what the core said."""

from __future__ import annotations

from typing import Any

from crossfade.impls.cores.replay import Replayer
from crossfade.impls.cores.rng import SplitMix64

STEPS = 60


class Walk:
    """A random walk: draws the next step, performs it on the core, writes down what happened."""

    def __init__(self, kind: str, number: int, config: dict[str, Any], rng: SplitMix64) -> None:
        self.rng = rng
        seed = rng.next_u64()
        self.core = Replayer(kind, config, seed)
        self.now_ns = rng.below(100)
        self.vector: dict[str, Any] = {"id": f"walk-{number}", "config": config, "seed": seed, "steps": []}

    def step(self, op: str, *args: Any) -> Any:
        expect = self.core.step(self.now_ns, op, args)
        self.vector["steps"].append({"at_ns": self.now_ns, "op": op, "args": list(args), "expect": expect})
        return expect

    def chance(self, per_mille: int) -> bool:
        return self.rng.below(1000) < per_mille

    def one_of(self, *items: Any) -> Any:
        return items[self.rng.below(len(items))]
