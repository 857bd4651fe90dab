"""Memory ladders: one fresh process per rung, read when it has settled, a line through the rungs.

``clients`` counts idle keep-alive client connections that have each made one call. ``upstreams`` counts the pool's HTTP
connections, read while a call waits on each (``in_flight``) and after all were answered (``idle``).
"""

from __future__ import annotations

from typing import Literal

from crossfade.harness import memory
from crossfade.harness.measure import loadrun
from crossfade.harness.measure.bench import SERVER, Bench, Measured, warm
from crossfade.harness.measure.target import Target
from crossfade.harness.problems import BlockFailed
from crossfade.harness.samples import Rung
from crossfade.harness.stats.lines import fit

WARM_CALLS = 30
State = Literal["idle", "in_flight"]


def clients(bench: Bench) -> Measured:
    """Downstream connections."""
    ladder = bench.scenario.ladder
    assert ladder is not None  # noqa: S101 - the scenario was validated
    return conclude([_clients_rung(bench, n, ladder.settle_s) for n in ladder.rungs])


def _clients_rung(bench: Bench, n: int, settle_s: float) -> Rung:
    with bench.fleet() as (fleet, ports), bench.target(fleet, ports) as target:
        warm(target, bench.scenario, calls=WARM_CALLS)
        # On rung 0 too: pages that processes share are billed in equal parts, and the load is one of the processes.
        body = {**loadrun.plan(bench, target), "mode": "hold", "connections": n}
        with bench.load(body) as load:
            held = load.expect("held", timeout_s=60.0)
            if held["n"] != n or held["lost"] or held["errors"]:
                raise BlockFailed(f"{held['n']} of {n} client connections are open: {held['errors'] or held['lost']}")
            return _rung(target, n, "idle", settle_s)


def upstreams(bench: Bench) -> Measured:
    """Upstream connections of the pool."""
    ladder = bench.scenario.ladder
    assert ladder is not None  # noqa: S101 - the scenario was validated
    return conclude([rung for n in ladder.rungs for rung in _upstreams_rung(bench, n)])


def _upstreams_rung(bench: Bench, n: int) -> list[Rung]:
    ladder = bench.scenario.ladder
    assert ladder is not None  # noqa: S101 - the scenario was validated
    with bench.fleet() as (_, ports), bench.worker(ports, serve=False) as (child, _ready):
        target = Target(0, f"{SERVER}__sleep", (child.pid,))
        rungs = []
        order = {"op": "hold", "tool": target.tool, "n": max(1, n), "hold_ms": ladder.hold_ms}
        # One call first, on every rung: what exists once is not what a connection costs.
        child.send({**order, "n": 1, "hold_ms": 20})
        child.expect("idle", timeout_s=30.0)
        child.send(order)
        for event, state in (("holding", "in_flight"), ("idle", "idle")):
            said = child.expect(event, timeout_s=ladder.hold_ms / 1000 + 60.0)
            if int(said["connections"]) < n:
                raise BlockFailed(f"{said['connections']} of {n} upstream connections were open; raise ladder.hold_ms")
            # While calls wait there is no time to settle: the upstream answers after hold_ms.
            wait_s = ladder.settle_s if state == "idle" else 0.05
            rungs.append(_rung(target, int(said["connections"]), state, wait_s, tries=20 if state == "idle" else 2))
        return rungs


def _rung(target: Target, n: int, state: str, settle_s: float, *, tries: int = 20) -> Rung:
    found = memory.settled(list(target.readable()), settle_s=settle_s, tries=tries)
    kind: State = "in_flight" if state == "in_flight" else "idle"
    return Rung(connections=n, state=kind, pss_kib=found.pss_kib, rss_kib=found.rss_kib)


def conclude(rungs: list[Rung]) -> Measured:
    """Slopes and intercept of this block. Raises BlockFailed if the rungs do not make a line."""
    metrics: dict[str, float] = {}
    states: tuple[tuple[State, str], ...] = (("idle", "slope_kib"), ("in_flight", "slope_load_kib"))
    for state, name in states:
        mine = [r for r in rungs if r.state == state]
        if not mine:
            continue
        try:
            line = fit([r.connections for r in mine], [r.pss_kib for r in mine])
        except ValueError as error:
            raise BlockFailed(f"the ladder gives no line: {error}") from error
        metrics[name] = line.slope
        if state == "idle":
            metrics["intercept_mib"] = line.intercept / 1024
    void = None
    if metrics.get("slope_kib", 1.0) <= 0:
        void = "memory fell with more connections; the rungs are noise, so use longer ladder.settle_s or higher rungs"
    return Measured(metrics=metrics, ladder=tuple(rungs), void=void)
