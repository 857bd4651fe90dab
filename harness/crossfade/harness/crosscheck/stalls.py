"""A server that leaves everything unread for a second, under an open loop: percentiles against theory.

Theory. Requests fall due at rate R over D seconds; the server stands still for S of them and then works off its line
at C requests per second. Whoever fell due x seconds into the stall waits for its end and for the R x before it:
S - x (1 - R / C). The slowest share q of all R D requests are those of the first q D seconds of the stall, so that
the percentile 1 - q is S - q D (1 - R / C), as long as q D < S. A generator that sends only when it has been answered
(coordinated omission) would have charged the stall to as many requests as it has connections, and to nobody else.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

from crossfade.harness.affinity import Placement
from crossfade.harness.crosscheck.record import Stall, Stalls
from crossfade.harness.hdr import Histogram
from crossfade.harness.problems import BlockFailed
from crossfade.harness.processes import Child
from crossfade.harness.runner import now
from crossfade.harness.stats.latency import NEEDED

Generator = Literal["rust", "python"]
Arrivals = Literal["constant", "poisson"]
CASES: tuple[tuple[Generator, Arrivals], ...] = tuple(
    (generator, arrivals) for generator in ("rust", "python") for arrivals in ("constant", "poisson")
)
STALL_S = 1.0
CONNECTIONS = 4
RATE_PER_S = 800.0
"""Far below what either generator can send, so that C is large against it; 3,688 samples carry a p99.9."""
BEFORE_S = 0.5
DURATION_S = 10


def expected_ms(stall: Stall, percentile: float) -> float:
    """What theory says. Raises ValueError where the percentile lies beyond the stall."""
    behind = (1 - percentile / 100) * stall.duration_s
    if behind >= stall.stalled_s:
        raise ValueError(f"p{percentile:g} of {stall.duration_s:g} s lies beyond a stall of {stall.stalled_s:g} s")
    return 1000 * (stall.stalled_s - behind * (1 - stall.rate_per_s / stall.drain_per_s))


def measure(
    *,
    placement: Placement,
    seed: int,
    duration_s: float = DURATION_S,
    cases: Sequence[tuple[Generator, Arrivals]] = CASES,
    say: Callable[[str], None] = lambda _: None,
) -> Stalls:
    """Every case on a fresh fleet. Raises BlockFailed."""
    runs = []
    for generator, arrivals in cases:
        found = _one(generator, arrivals, placement, seed, duration_s)
        say(f"{generator} generator, {arrivals} arrivals: p99.9 {found.p999_ms:,.0f} ms after {found.stalled_s:.3f} s")
        runs.append(found)
    return Stalls(created=now(), runs=tuple(runs))


def _one(generator: Generator, arrivals: Arrivals, placement: Placement, seed: int, duration_s: float) -> Stall:
    with _process("fleet", {"generator": "rust"}, placement) as fleet:
        plan = {
            "generator": generator,
            "port": fleet.expect("ready", timeout_s=20)["port"],
            "connections": CONNECTIONS,
            "seed": seed,
        }
        with _process("load", {**plan, "mode": "closed", "duration_s": 0.5}, placement) as load:
            drain_per_s = load.expect("result", timeout_s=20)["throughput_per_s"]
        wanted = {"mode": "open", "rate_per_s": RATE_PER_S, "arrivals": arrivals, "drain_s": 5.0}
        with _process("load", {**plan, **wanted, "warmup_s": 0.3, "duration_s": duration_s}, placement) as load:
            load.expect("measuring", timeout_s=20)
            time.sleep(BEFORE_S)
            stalled_s = _stall(fleet)
            result = load.expect("result", timeout_s=duration_s + 20)
    latency = _answered(f"{generator} generator, {arrivals} arrivals", result)
    return Stall(
        generator=generator,
        arrivals=arrivals,
        rate_per_s=RATE_PER_S,
        duration_s=duration_s,
        connections=CONNECTIONS,
        stalled_s=stalled_s,
        drain_per_s=drain_per_s,
        requests=latency.total_count,
        p99_ms=latency.value_at_percentile(99.0) / 1e6,
        p999_ms=latency.value_at_percentile(99.9) / 1e6,
    )


def _answered(what: str, result: dict[str, Any]) -> Histogram:
    failed = sum(result["errors"].values()) + result["missed_sends"]
    latency = Histogram.decode(result["latency"])
    if failed or latency.total_count < NEEDED[99.9]:
        raise BlockFailed(
            f"{what}: {failed} requests failed and {latency.total_count} were answered, of which a p99.9 needs "
            f"{NEEDED[99.9]:,}; measure again on a quieter machine"
        )
    return latency


def _stall(fleet: Child) -> float:
    """One second of silence; how long it was, from its acknowledgement to the order to read again."""
    fleet.send({"op": "hang"})
    fleet.expect("hung", timeout_s=5)
    begin = time.monotonic()
    time.sleep(STALL_S)
    fleet.send({"op": "recover"})
    stalled_s = time.monotonic() - begin
    fleet.expect("recovered", timeout_s=5)
    return stalled_s


@contextmanager
def _process(what: str, config: dict[str, Any], placement: Placement) -> Iterator[Child]:
    """The fleet gets the variant's processor here: there is no variant, and the generator shall send on time."""
    cpus = placement.variant if what == "fleet" else placement.rest
    with Child(what, [sys.executable, "-m", f"crossfade.harness.{what}"], cpus=cpus) as child:
        child.send(config)
        yield child
