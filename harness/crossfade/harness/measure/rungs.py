"""Reading one rung of a memory ladder, and the lines through all of them.

The rule: figures of idle connections, of busy ones, of children and of the kernel are never added up.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from crossfade.harness import memory
from crossfade.harness.kernelmemory import Meter
from crossfade.harness.measure.bench import Measured
from crossfade.harness.measure.target import Target
from crossfade.harness.problems import BlockFailed
from crossfade.harness.samples import Rung
from crossfade.harness.stats.lines import fit

State = Literal["idle", "in_flight"]
Reading = tuple[Rung, str]
"""A rung, and a note on what could not be read, or whose it is."""


def read(
    target: Target,
    n: int,
    state: State,
    settle_s: float,
    *,
    tries: int = 20,
    own: bool = False,
    children: Sequence[int] = (),
    kernel: Meter | None = None,
) -> Reading:
    """Memory of the target once it has settled, with ``own`` its own apart from files; ``children`` stand beside it."""
    found = memory.settled(list(target.readable()), settle_s=settle_s, tries=tries)
    if own and found.own_kib is None:
        raise BlockFailed("smaps_rollup has no Pss_Anon, so own memory cannot be told from files; use a newer kernel")
    rung = Rung(
        connections=n,
        state=state,
        pss_kib=found.pss_kib,
        rss_kib=found.rss_kib,
        children_pss_kib=memory.read(children).pss_kib if children else 0.0,
        own_kib=found.own_kib if own else None,
        kernel=kernel.grown() if kernel is not None else None,
    )
    return rung, kernel.note if kernel is not None else ""


def conclude(readings: Sequence[Reading], *, slope: str = "slope_kib") -> Measured:
    """Slopes and intercept of this block; ``slope`` names the idle one. Raises BlockFailed if there is no line."""
    rungs = [rung for rung, _ in readings]
    idle = [r for r in rungs if r.state == "idle"]
    busy = [r for r in rungs if r.state == "in_flight"]
    first = idle or busy
    metrics: dict[str, float] = {}
    notes = list(dict.fromkeys(note for _, note in readings if note))
    try:
        for name, mine in ((slope, idle), ("slope_load_kib", busy)):
            if mine:
                line = fit([r.connections for r in mine], [r.line_kib() for r in mine])
                metrics[name] = line.slope
                if mine is first:
                    metrics["intercept_mib"] = line.intercept / 1024
        if any(r.children_pss_kib for r in first):
            metrics["child_kib"] = fit([r.connections for r in first], [r.children_pss_kib for r in first]).slope
        if kernels := [(r.connections, r.kernel) for r in first if r.kernel is not None]:
            named = "kernel_kib" if kernels[0][1].scope == "cgroup" else "machine_kernel_kib"
            per_connection = fit([n for n, _ in kernels], [k.total_kib() for _, k in kernels]).slope
            if per_connection > 0:
                metrics[named] = per_connection
            else:
                notes.append("kernel memory fell with more connections: others' doing, and no figure of anybody's")
    except ValueError as error:
        raise BlockFailed(f"the ladder gives no line: {error}") from error
    void = None
    if any(metrics.get(name, 1.0) <= 0 for name in (slope, "slope_load_kib")):
        void = "memory fell with more connections; the rungs are noise, so use longer ladder.settle_s or higher rungs"
    return Measured(metrics=metrics, ladder=tuple(rungs), notes=tuple(notes), void=void)
