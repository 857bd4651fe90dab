"""The memory ladder on a manager whose slope is known: :mod:`crossfade.harness.crosscheck.arena`, brought as a user
would bring any gateway (``--command``), through the ladder that measures every variant.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Sequence

import msgspec

from crossfade.harness import gateways
from crossfade.harness.affinity import Placement
from crossfade.harness.crosscheck.arena import CONNECTION
from crossfade.harness.crosscheck.record import Arena
from crossfade.harness.executor import LocalExecutor, Task
from crossfade.harness.problems import BlockFailed
from crossfade.harness.runner import draw, now
from crossfade.harness.samples import Slot
from crossfade.harness.stats.lines import Line, fit
from crossfade.scenarios import select

SCENARIO = "memory-clients"
NAME = "arena"
COMMAND = f"{NAME}={shlex.quote(sys.executable)} -m crossfade.harness.crosscheck.arena {{port}} {{upstream}}"
ROUNDS = 3


def measure(
    *,
    placement: Placement,
    generator: str,
    seed: int,
    rounds: int = ROUNDS,
    rungs: Sequence[int] | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Arena:
    """All rounds of the scenario's own ladder (or of ``rungs``). Raises BlockFailed."""
    scenario = select([SCENARIO])[0]
    assert scenario.ladder is not None  # noqa: S101 - a built-in one
    if rungs is not None:
        asked = msgspec.structs.replace(scenario.ladder, rungs=tuple(rungs))
        scenario = msgspec.structs.replace(scenario, ladder=asked)
    brought = gateways.parse([COMMAND], [], fleet_port=gateways.FLEET_PORT, known=())
    executor = LocalExecutor(placement=placement, generator=generator, gateways=brought)
    found: list[tuple[int, int, float]] = []
    for number in range(rounds):
        slot = Slot(scenario=scenario.name, round=number, position=0, variant=NAME)
        drawn = {"seed": draw(seed, "arena", number), "hash_seed": draw(seed, "hash", number) % (1 << 32)}
        block = executor.block(Task(scenario=scenario, profile="quick", slot=slot, **drawn))
        if block.status != "ok":
            raise BlockFailed(f"ladder of the known manager: {block.error}")
        found += [(number, rung.connections, rung.pss_kib) for rung in block.ladder if rung.state == "idle"]
        say(f"round {number + 1} of {rounds}: {block.metrics['slope_kib']:.3f} KiB per connection")
    return Arena(created=now(), kib=CONNECTION / 1024, rungs=tuple(found))


def slope(found: Arena) -> Line:
    """The line that a report would fit."""
    return fit([n for _, n, _ in found.rungs], [kib for *_, kib in found.rungs], [r for r, *_ in found.rungs])
