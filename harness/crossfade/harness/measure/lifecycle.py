"""Beginning and end of a manager: cold start to the first right answer, shutdown, and what a killed child costs.

1. The clock starts before the process does and stops at the first right answer of each server: interpreter, imports,
   configuration and connections are all part of a cold start.
2. A child is killed with SIGKILL; a probe asks until an answer is right again.
3. Shutdown is timed from the end of its stdin to the end of the process, with one client still connected.
"""

from __future__ import annotations

import contextlib
import os
import signal
import statistics
import time
from collections.abc import Iterator

from crossfade.harness.cpuclock import children
from crossfade.harness.measure.bench import Bench, Measured, echoed
from crossfade.harness.measure.target import Target
from crossfade.harness.measure.upstreams import Ports
from crossfade.harness.probe import Probe
from crossfade.harness.problems import BlockFailed
from crossfade.harness.processes import Child

ASK_EVERY_S = 0.002
PATIENCE_S = 20.0
STOP_LIMIT_MS = 5000.0
"""After that the harness ends the process with a signal, so that it was not the manager that stopped."""


def run(bench: Bench) -> Measured:
    """A few lives, one after the other; the figures are medians over them."""
    lifecycle = bench.scenario.lifecycle
    assert lifecycle is not None  # noqa: S101 - the scenario was validated
    lives: list[dict[str, float]] = []
    with _upstream(bench) as (fleet, ports):
        lives.extend(_life(bench, fleet, ports, kill=lifecycle.kill_child) for _ in range(lifecycle.starts))
    metrics = {name: statistics.median(life[name] for life in lives) for name in lives[0]}
    late = metrics["stop_ms"] >= STOP_LIMIT_MS
    failed = f"did not end within {STOP_LIMIT_MS / 1000:g} s of the end of its stdin; see what it waits for"
    return Measured(metrics=metrics, failed=failed if late else None)


@contextlib.contextmanager
def _upstream(bench: Bench) -> Iterator[tuple[Child | None, Ports | None]]:
    if bench.scenario.upstream.transport == "stdio":
        yield None, None
        return
    with bench.fleet() as found:
        yield found


def _life(bench: Bench, fleet: Child | None, ports: Ports | None, *, kill: bool) -> dict[str, float]:
    born = time.monotonic()
    with contextlib.ExitStack() as stack:
        target = stack.enter_context(bench.target(fleet, ports))
        probe = Probe(target.port, host=target.host, path=target.path)
        # Closed only after the target is gone: a client that stays connected may not keep a manager from ending.
        try:
            for tool in target.tools or (target.tool,):
                _ask(probe, tool)
            times = {"start_ms": (time.monotonic() - born) * 1000}
            if kill:
                times["child_recovery_ms"] = _kill_child(target)
            end = time.monotonic()
            stack.close()
            times["stop_ms"] = (time.monotonic() - end) * 1000
        finally:
            probe.close()
    return times


def _ask(probe: Probe, tool: str) -> None:
    answer = probe.call(tool, {"text": "hello", "n": 0})
    if echoed(answer) != "hello":
        raise BlockFailed(f"wrong answer to {tool} after the start: {str(answer)[:200]}")


def _kill_child(target: Target) -> float:
    """From SIGKILL to the next right answer."""
    (manager,) = target.pids
    found = children(manager)
    if not found:
        raise BlockFailed("the manager has no child to kill; is its upstream over stdio?")
    for pid in found:
        os.kill(pid, signal.SIGKILL)
    killed = time.monotonic()
    last = "nothing was asked"
    while time.monotonic() - killed < PATIENCE_S:
        try:
            with Probe(target.port, host=target.host, path=target.path, timeout_s=PATIENCE_S) as probe:
                _ask(probe, target.tool)
            return (time.monotonic() - killed) * 1000
        except BlockFailed as error:
            last = str(error)
        # The interval of the probe, recorded as such: an answer can be no nearer than this.
        time.sleep(ASK_EVERY_S)
    raise BlockFailed(f"no right answer within {PATIENCE_S:g} s after the child was killed: {last}")
