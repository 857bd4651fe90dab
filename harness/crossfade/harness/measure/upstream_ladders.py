"""Memory ladders of upstream connections: the pool's to one HTTP server, or children, each a server of its own.

Both are read while a call waits on every connection (``in_flight``) and after all were answered (``idle``). Children
share their interpreter with the manager, so that its share of those pages falls with every further one: their line goes
through memory of the manager's own, and what the children hold is shown apart. The kernel's memory is read of HTTP
connections alone: children speak over pipes, which no count of sockets holds.
"""

from __future__ import annotations

from typing import Any

from crossfade.harness import kernelmemory
from crossfade.harness.cpuclock import children
from crossfade.harness.measure.bench import SERVER, Bench, Measured
from crossfade.harness.measure.rungs import Reading, State, conclude, read
from crossfade.harness.measure.target import Target
from crossfade.harness.problems import BlockFailed
from crossfade.harness.processes import Child


def over_http(bench: Bench) -> Measured:
    """Connections of the pool."""
    assert bench.scenario.ladder is not None  # noqa: S101 - the scenario was validated
    return conclude([reading for n in bench.scenario.ladder.rungs for reading in _http_rung(bench, max(1, n))])


def _http_rung(bench: Bench, n: int) -> list[Reading]:
    with bench.fleet() as (_, ports), bench.worker(ports, serve=False) as (child, _ready):
        tool = f"{SERVER}__sleep"
        # One call first, on every rung: what exists once is not what a connection costs.
        _hold(child, [tool], hold_ms=20)
        # That call's connection is there already, on every rung alike; no other is.
        kernel = kernelmemory.meter([child.pid])
        return _both_states(bench, child, [tool] * n, childless=True, kernel=kernel)


def over_stdio(bench: Bench) -> Measured:
    """Children, a server each."""
    assert bench.scenario.ladder is not None  # noqa: S101 - the scenario was validated
    return conclude([reading for n in bench.scenario.ladder.rungs for reading in _stdio_rung(bench, max(1, n))])


def _stdio_rung(bench: Bench, n: int) -> list[Reading]:
    config = bench.manager_config(None)
    entry = {**config["mcpServers"][SERVER]}
    if bench.scenario.upstream.era != "both":
        # Many children that begin at once answer late, and a late answer must not be taken for another era.
        entry["era"] = bench.scenario.upstream.era
    names = [f"{SERVER}{number}" for number in range(n)]
    with bench.worker(None, serve=False, config={**config, "mcpServers": dict.fromkeys(names, entry)}) as (child, _):
        tools = [f"{name}__sleep" for name in names]
        _hold(child, tools, hold_ms=20)
        return _both_states(bench, child, tools, childless=False)


def _hold(child: Child, tools: list[str], *, hold_ms: int) -> dict[str, Any]:
    child.send({"op": "hold", "tools": tools, "hold_ms": hold_ms})
    return child.expect("idle", timeout_s=60.0)


def _both_states(
    bench: Bench, child: Child, tools: list[str], *, childless: bool, kernel: kernelmemory.Meter | None = None
) -> list[Reading]:
    ladder = bench.scenario.ladder
    assert ladder is not None  # noqa: S101 - the scenario was validated
    target = Target(0, tools[0], (child.pid,))
    child.send({"op": "hold", "tools": tools, "hold_ms": ladder.hold_ms})
    readings = []
    states: tuple[tuple[str, State], ...] = (("holding", "in_flight"), ("idle", "idle"))
    for event, state in states:
        said = child.expect(event, timeout_s=ladder.hold_ms / 1000 + 60.0)
        n = int(said["connections"])
        if n < len(tools):
            raise BlockFailed(f"{n} of {len(tools)} upstream connections were open; raise ladder.hold_ms")
        # While calls wait there is no time to settle: the upstream answers after hold_ms.
        wait_s, tries = (ladder.settle_s, 20) if state == "idle" else (0.05, 2)
        below = () if childless else _below(child.pid)
        own = not childless
        readings.append(read(target, n, state, wait_s, tries=tries, own=own, children=below, kernel=kernel))
    return readings


def _below(pid: int) -> list[int]:
    """All descendants of ``pid``."""
    found = children(pid)
    for one in found:
        found.extend(children(one))
    return found
