"""An update under constant load: no request may fail, however the instances are replaced.

The next revision runs on ports of its own. The manager is told to update at a planned moment and says when it is over;
``update_ms`` is what its caller waits. One failed request fails the block, for an update that loses calls has no
duration worth comparing.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

from crossfade.harness.measure import loadrun
from crossfade.harness.measure.bench import SERVER, Bench, Measured, warm
from crossfade.harness.problems import BlockFailed
from crossfade.harness.processes import Child
from crossfade.harness.samples import LoadPoint, Mark

PATIENCE_S = 30.0


class Updater:
    """Tells the manager to update at its moment, and keeps when that was."""

    def __init__(self, worker: Child, order: dict[str, object], at_s: float) -> None:
        self.worker, self.order, self.at_s = worker, order, at_s
        self.at_ms = 0.0

    def __call__(self) -> None:
        begin = time.monotonic()
        # The schedule of the experiment, not a synchronisation.
        time.sleep(self.at_s)
        self.worker.send(self.order)
        self.at_ms = (time.monotonic() - begin) * 1000


def run(bench: Bench) -> Measured:
    """One update."""
    deploy = bench.scenario.deploy
    assert deploy is not None  # noqa: S101 - the scenario was validated
    with bench.fleet() as (fleet, ports), bench.target(fleet, ports) as target:
        warm(target, bench.scenario, calls=3)
        if target.worker is None:
            raise BlockFailed("only a variant of crossfade can be told to update; leave this scenario out for others")
        entry = bench.entries(ports, revision=1)[SERVER]
        order: dict[str, object] = {"op": "update", "server": SERVER, "entry": entry, "strategy": deploy.strategy}
        updater = Updater(target.worker, order, deploy.update_at_s)
        found = loadrun.run(bench, target, loadrun.plan(bench, target), during=updater)
        said = target.worker.expect("updated", timeout_s=PATIENCE_S)
    return conclude(found, said, updater.at_ms, deploy.strategy)


def conclude(found: LoadPoint, said: Mapping[str, object], at_ms: float, strategy: str) -> Measured:
    """The block's figures. ``said`` is the worker's word on the update."""
    update_ms = float(str(said["ms"]))
    lost = sum(found.errors.values())
    failed = None
    if said["problem"] is not None:
        failed = f"the {strategy} update failed: {said['problem']}"
    elif lost:
        failed = f"{lost} of {found.sent} requests failed during the {strategy} update ({loadrun.kinds(found.errors)})"
    void = loadrun.doubt(found)
    if void is None and at_ms + update_ms > found.duration_s * 1000:
        void = f"the update took {update_ms:.0f} ms and outlasted the load; give the block a longer duration_s"
    return Measured(
        metrics={
            "update_ms": update_ms,
            **loadrun.latency_metrics(found),
            **loadrun.rates(found),
            **loadrun.failures(found),
        },
        points=(found,),
        marks=(Mark(t_ms=at_ms, what="update"), Mark(t_ms=at_ms + update_ms, what="updated")),
        errors=found.errors,
        void=void,
        failed=failed,
    )
