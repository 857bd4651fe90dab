"""The load generator in Python, for machines without the native wheel: same plan, same result, more CPU.

The parts are those of the native one (``impls/rust/load/src``): ``client`` sends, ``measure`` paces, ``record`` judges
and counts, ``hold`` holds. The rule is the same, too: every request that was sent ends in exactly one verdict.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from crossfade.harness import pyloop
from crossfade.harness.load_py.client import Client
from crossfade.harness.load_py.hold import hold
from crossfade.harness.load_py.measure import Run
from crossfade.harness.load_py.plan import Plan


def run(raw: dict[str, Any], emit: Callable[[str], None]) -> str:
    """Run a plan; the result event. Raises ValueError (broken plan) or RuntimeError (server not reached)."""
    plan = Plan.parse(raw)
    pyloop.pin(plan.cpu)

    async def main() -> str:
        client = Client(plan)
        return await (hold(client, emit) if plan.mode == "hold" else Run(client, emit).measure())

    return pyloop.run(main())
