"""Something is done to the upstream under load, and undone: what clients saw, and how long recovery took.

Errors are counted, never a reason to void: they are the measurement. A request that gets no answer at all is: every
request has to end, in an answer or in an error. The first success is timed by a probe that asks every few milliseconds
from the moment the upstream is told to recover; the rate is read from the load's own series, and the breaker's times
from the manager's events, where the scenario asks for them.
"""

from __future__ import annotations

import contextlib
import random
import threading
import time
from typing import Any, Literal

from crossfade.harness.measure import loadrun
from crossfade.harness.measure.bench import Bench, Measured, echoed, warm
from crossfade.harness.measure.target import Target
from crossfade.harness.probe import Probe
from crossfade.harness.problems import BlockFailed
from crossfade.harness.processes import Child
from crossfade.harness.samples import LoadPoint, Mark
from crossfade.scenarios import Faults

Era = Literal["modern", "legacy"]
PROBE_EVERY_S = 0.005
BREAKER = {"breaker_open_ms", "breaker_heal_ms"}


def schedule(faults: Faults, recover_at_s: float) -> list[tuple[float, str]]:
    """What is done to the fleet and when, in order; the last is its recovery."""
    if faults.fault != "flap":
        return [(faults.crash_at_s, faults.fault), (recover_at_s, "recover")]
    steps = 2 * faults.flaps - 1
    width = (recover_at_s - faults.crash_at_s) / steps
    return [(faults.crash_at_s + i * width, "recover" if i % 2 else "crash") for i in range(steps + 1)]


class Conductor:
    """Does things to the fleet at the planned moments, from the start of measuring."""

    def __init__(self, fleet: Child, target: Target, faults: Faults, seed: int, era: Era = "modern") -> None:
        self.fleet, self.target, self.era = fleet, target, era
        drawn = random.Random(f"recover {seed}").random()  # noqa: S311 - reproducible
        self.schedule = schedule(faults, faults.recover_at_s + faults.jitter_s * drawn)
        self.marks: list[Mark] = []
        self.first_success_ms: float | None = None
        self.begin_ns = 0

    def __call__(self) -> None:
        begin = time.monotonic()
        self.begin_ns = time.monotonic_ns()
        for at_s, what in self.schedule:
            self._at(begin, at_s, what)
        threading.Thread(target=self._probe, args=(time.monotonic(),), daemon=True).start()

    def _at(self, begin: float, at_s: float, what: str) -> None:
        # The schedule of the experiment, not a synchronisation: the moment that was hit is recorded.
        time.sleep(max(0.0, begin + at_s - time.monotonic()))
        self.fleet.send({"op": what})
        self.marks.append(Mark(t_ms=(time.monotonic() - begin) * 1000, what=what))

    def _connect(self) -> Probe:
        target = self.target
        return Probe(target.port, host=target.host, path=target.path, era=self.era, timeout_s=2.0)

    def _probe(self, recovered: float) -> None:
        while time.monotonic() - recovered < 30.0 and self.first_success_ms is None:
            with contextlib.suppress(BlockFailed), self._connect() as probe:
                if echoed(probe.call(self.target.tool, {"text": "back", "n": 0})) == "back":
                    self.first_success_ms = (time.monotonic() - recovered) * 1000
                    return
            time.sleep(PROBE_EVERY_S)


def run(bench: Bench) -> Measured:
    """One fault and recovery."""
    faults, load = bench.scenario.faults, bench.scenario.load
    assert faults is not None and load is not None  # noqa: S101, PT018 - the scenario was validated
    watched = bool(BREAKER & {*bench.scenario.headline, *bench.scenario.shown})
    with bench.fleet() as (fleet, ports), bench.target(fleet, ports) as target:
        warm(target, bench.scenario, calls=3)
        worker = target.worker if watched else None
        if worker is not None:
            worker.send({"op": "watch"})
            worker.expect("watching", timeout_s=10.0)
        conductor = Conductor(fleet, target, faults, bench.seed, load.era)
        found = loadrun.run(bench, target, loadrun.plan(bench, target), during=conductor)
        changes: list[dict[str, Any]] = []
        if worker is not None:
            worker.send({"op": "watched"})
            changes = worker.expect("watched", timeout_s=10.0)["changes"]
    return conclude(found, conductor, load.rate_per_s or 0.0, faults.restored_share, circuit(changes, conductor))


def circuit(changes: list[dict[str, Any]], conductor: Conductor) -> dict[str, float]:
    """From the fault to the first open circuit, and from the last recovery to the closed one."""
    moments = [(float(c["at_ns"] - conductor.begin_ns) / 1e6, c["new"]) for c in changes if c["kind"] == "circuit"]
    done, undone = conductor.marks[0].t_ms, conductor.marks[-1].t_ms
    opened = next((at for at, new in moments if new == "open" and at >= done), None)
    closed = next((at for at, new in moments if new == "closed" and at >= undone), None)
    found = {"breaker_open_ms": opened and opened - done, "breaker_heal_ms": closed and closed - undone}
    return {name: value for name, value in found.items() if value is not None}


def conclude(
    found: LoadPoint, conductor: Conductor, rate_per_s: float, share: float, breaker: dict[str, float] | None = None
) -> Measured:
    """The block's figures. A variant that does not recover within the block has no recovery time and is void."""
    restored = restored_ms(found, conductor.marks[-1].t_ms, rate_per_s * share)
    metrics = {**loadrun.rates(found), **loadrun.failures(found), **(breaker or {})}
    if restored is not None:
        metrics["restored_ms"] = restored
    if conductor.first_success_ms is not None:
        metrics["first_success_ms"] = conductor.first_success_ms
    void = None
    if found.mismatches:
        void = f"{found.mismatches} answers did not match their request; run `crossfade parity`"
    elif loadrun.generator_late(found):
        void = "the generator itself sent late, so that the series is not the target's; use a lower rate"
    elif metrics["hung_requests"]:
        void = f"{metrics['hung_requests']:.0f} requests got no answer at all; each has to end in an answer or an error"
    elif restored is None:
        void = f"the rate did not come back to {share:.0%} before the block ended; see the series of this block"
    return Measured(metrics=metrics, points=(found,), marks=tuple(conductor.marks), errors=found.errors, void=void)


def restored_ms(found: LoadPoint, recovered_ms: float, wanted_per_s: float) -> float | None:
    """From recovery to the end of the first interval, wholly after it, that answered at ``wanted_per_s``."""
    previous = 0.0
    for interval in found.series:
        width_s = (interval.t_ms - previous) / 1000
        begin, previous = previous, interval.t_ms
        if begin >= recovered_ms and width_s > 0 and interval.completed / width_s >= wanted_per_s:
            return interval.t_ms - recovered_ms
    return None
