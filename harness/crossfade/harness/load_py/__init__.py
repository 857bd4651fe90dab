"""The load generator in Python, for machines without the native wheel: same plan, same result, more CPU.

The parts are those of the native one (``impls/rust/load/src``): ``questions`` asks, ``client`` sends, ``judge`` judges,
``measure`` paces, ``worker`` sees units to their end, ``record`` counts, ``hold`` holds, ``storm`` storms. The rule is
the same, too: every request that was sent ends in exactly one verdict.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from crossfade.harness import pyloop
from crossfade.harness.load_py.client import Client
from crossfade.harness.load_py.hold import hold
from crossfade.harness.load_py.measure import Run
from crossfade.harness.load_py.plan import Plan
from crossfade.harness.load_py.storm import storm


def run(raw: dict[str, Any], emit: Callable[[str], None]) -> str:
    """Run a plan; the result event. Raises ValueError (broken plan) or RuntimeError (server not reached)."""
    plan = Plan.parse(raw)
    pyloop.pin(plan.cpu)

    async def main() -> str:
        client = Client(plan)
        if plan.mode == "hold":
            return await hold(client, emit)
        if plan.mode == "connect":
            return await storm(client, emit)
        run = Run(client, emit)
        return await (run.burst() if plan.burst else run.measure())

    # No send of a closed loop has a time of its own to keep.
    with pyloop.batch() if plan.mode == "closed" else contextlib.nullcontext():
        return pyloop.run(main())
