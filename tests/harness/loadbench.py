"""A fleet and a way to run plans against it, both of one implementation: what the tests of the generator stand on."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest

from crossfade.harness.problems import BlockFailed
from crossfade.harness.processes import Child


class Bench:
    """A fleet and a way to run plans against it."""

    def __init__(self, generator: str) -> None:
        self.generator = generator
        self.children: list[Child] = []

    def fleet(self, **config: Any) -> tuple[Child, int]:
        child = self.child("fleet")
        child.send({"generator": self.generator, **config})
        return child, child.expect("ready", timeout_s=20)["port"]

    def child(self, what: str) -> Child:
        child = Child(what, [sys.executable, "-m", f"crossfade.harness.{what}"])
        self.children.append(child)
        return child

    def run(self, port: int | None, during: Callable[[], None] | None = None, **plan: Any) -> dict[str, Any]:
        child = self.child("load")
        here = {} if port is None else {"port": port}
        base = {"mode": "closed", "connections": 4, "warmup_s": 0.1, "duration_s": 0.5}
        child.send({"generator": self.generator, **here, **base, **plan})
        child.expect("ready", timeout_s=20)
        child.expect("measuring", timeout_s=20)
        if during is not None:
            during()
        child.expect("measured", timeout_s=20)
        return child.expect("result", timeout_s=20)

    def refused(self, **plan: Any) -> str:
        """Why the generator refuses a plan."""
        child = self.child("load")
        base = {"generator": self.generator, "port": 1, "mode": "closed", "connections": 1, "duration_s": 1}
        child.send({key: value for key, value in {**base, **plan}.items() if value is not None})
        with pytest.raises(BlockFailed) as refusal:
            child.expect("ready", timeout_s=20)
        assert child.process.wait(timeout=10) == 64
        return str(refusal.value)

    def stats(self, fleet: Child) -> dict[str, Any]:
        fleet.send({"op": "stats"})
        return fleet.expect("stats", timeout_s=5)

    def close(self) -> None:
        for child in self.children:
            child.close()
