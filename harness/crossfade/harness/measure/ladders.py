"""Memory ladders: one fresh process per rung, read when it has settled, a line through the rungs.

``clients`` counts keep-alive client connections that have each made one call and are idle, or have one in flight each
(``ladder.in_flight``: with it comes the upstream connection that the call waits on). ``sessions`` counts legacy
sessions whose clients went away without a word. The rule: every rung runs the same processes, or the libraries that
they share would be billed to the connections.
"""

from __future__ import annotations

import re
import time

from crossfade.harness import kernelmemory
from crossfade.harness.measure import loadrun
from crossfade.harness.measure.bench import Bench, Measured, warm
from crossfade.harness.measure.rungs import conclude, read
from crossfade.harness.measure.target import Target
from crossfade.harness.probe import Probe
from crossfade.harness.problems import BlockFailed
from crossfade.harness.processes import Child
from crossfade.harness.samples import Rung

WARM_CALLS = 30
ASK_EVERY_S = 0.02


def clients(bench: Bench) -> Measured:
    """Downstream connections."""
    ladder = bench.scenario.ladder
    assert ladder is not None  # noqa: S101 - the scenario was validated
    return conclude([_clients_rung(bench, n) for n in ladder.rungs])


def _clients_rung(bench: Bench, n: int) -> tuple[Rung, str]:
    ladder = bench.scenario.ladder
    assert ladder is not None  # noqa: S101 - the scenario was validated
    with bench.fleet() as (fleet, ports), bench.target(fleet, ports) as target:
        warm(target, bench.scenario, calls=WARM_CALLS)
        kernel = kernelmemory.meter(target.readable())
        if n and ladder.in_flight:
            return _calling(bench, target, fleet, n, kernel)
        body = {**loadrun.plan(bench, target), "mode": "hold", "connections": n}
        with bench.load(body) as load:
            held = load.expect("held", timeout_s=60.0)
            if held["n"] != n or held["lost"] or held["errors"]:
                raise BlockFailed(f"{held['n']} of {n} client connections are open: {held['errors'] or held['lost']}")
            return read(target, n, "in_flight" if ladder.in_flight else "idle", ladder.settle_s, kernel=kernel)


def _calling(bench: Bench, target: Target, fleet: Child, n: int, kernel: kernelmemory.Meter | None) -> tuple[Rung, str]:
    """A closed loop whose calls wait in the upstream: read between the last one's arrival and the first answer."""
    assert bench.scenario.ladder is not None  # noqa: S101 - the scenario was validated
    hold_s = bench.scenario.ladder.hold_ms / 1000
    body = {
        **loadrun.plan(bench, target),
        "mode": "closed",
        "rate_per_s": None,
        "connections": n,
        "tool": re.sub("echo$", "sleep", target.tool),
        "arguments": {"ms": hold_s * 1000},
        "warmup_s": 0.0,
        "duration_s": hold_s,
        "timeout_s": hold_s + 30.0,
    }
    before = _calls(fleet)
    with bench.load(body) as load:
        load.expect("ready", timeout_s=60.0)
        begin = time.monotonic()
        while (waiting := _calls(fleet) - before) < n and time.monotonic() - begin < hold_s:
            time.sleep(ASK_EVERY_S)  # a counter of another process
        found = read(target, n, "in_flight", 0.05, tries=2, kernel=kernel)
        late = time.monotonic() - begin >= hold_s
        load.close(grace_s=0.0)
    if waiting < n or late:
        seen = "the first was answered" if waiting >= n else f"{waiting} of {n} had arrived"
        raise BlockFailed(f"calls did not all wait at once ({seen} after {hold_s:g} s); raise ladder.hold_ms")
    return found


def _calls(fleet: Child) -> int:
    fleet.send({"op": "stats"})
    return int(fleet.expect("stats", timeout_s=10.0)["calls"])


def sessions(bench: Bench) -> Measured:
    """Sessions that nobody uses any more."""
    ladder = bench.scenario.ladder
    assert ladder is not None  # noqa: S101 - the scenario was validated
    return conclude([_sessions_rung(bench, n, ladder.settle_s) for n in ladder.rungs], slope="session_kib")


def _sessions_rung(bench: Bench, n: int, settle_s: float) -> tuple[Rung, str]:
    with bench.fleet() as (fleet, ports), bench.target(fleet, ports) as target:
        warm(target, bench.scenario, calls=WARM_CALLS)
        left: list[Probe] = []
        for _ in range(n):
            probe = Probe(target.port, host=target.host, path=target.path, era="legacy")
            probe.initialize()
            probe.leave()
            left.append(probe)
        # A session is less than what the sharing of libraries moves when some other process begins.
        found = read(target, n, "idle", settle_s, own=True)
        for probe in (*left[:1], *left[-1:]):
            # The first is the oldest: if it is still known, none was forgotten to make room.
            answer = probe.request("tools/list")
            probe.leave()
            if "result" not in answer:
                raise BlockFailed(f"of {n} idle sessions one is no longer known: {str(answer)[:200]}; lower the rungs")
        return found
