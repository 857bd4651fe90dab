"""Our generator and wrk in turn on one endpoint: nginx as a plain reverse proxy before the fleet.

Every window has a fresh fleet and a fresh nginx, warmed by the same load, and the generators stand on the same
processor, the fleet's. A round holds a window of each and one of ours straight at the fleet, in an order drawn from
the seed: what is compared is the log-ratio within a round.

The connections have to saturate nginx. A closed loop's cycle is the latency and the generator's own turn, from an
answer read to the next request written (Little: connections = throughput x (latency + turn)); both generators read all
that is there before they write, and wrk's turn is longer, by its two calls of ``epoll_ctl`` per request. With few
connections that difference is a part of the latency worth seeing; with many it is lost in nginx's line.
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from crossfade.harness import environment
from crossfade.harness.affinity import Placement
from crossfade.harness.crosscheck import wrk
from crossfade.harness.crosscheck.record import Generators, Sent
from crossfade.harness.measure import loadrun
from crossfade.harness.measure.bench import Bench, warm
from crossfade.harness.measure.target import Target, spent_ns
from crossfade.harness.problems import BlockFailed, Unavailable
from crossfade.harness.runner import now
from crossfade.scenarios import Scenario, select

SCENARIO = "gateway-echo"
KINDS = ("crossfade on nginx", "wrk on nginx", "crossfade on fleet")
PRELOAD_S = 0.4
START_S = 1.2
"""Besides its window and the preload: starting and ending the processes of one window; for the estimate."""
Say = Callable[[str], None]


def check(connections: int) -> Scenario:
    """The scenario, with that many connections. Raises Unavailable if wrk or nginx is missing."""
    wrk.path()
    if environment.nginx_path() is None:
        raise Unavailable("nginx is not installed, and the cross-check needs it; install it (Debian: nginx-light)")
    scenario = select([SCENARIO])[0]
    assert scenario.load is not None  # noqa: S101 - a built-in one
    load = msgspec.structs.replace(scenario.load, connections=connections)
    return msgspec.structs.replace(scenario, load=load)


def estimate_s(rounds: int, duration_s: int) -> float:
    """Seconds that :func:`measure` takes."""
    return rounds * len(KINDS) * (duration_s + PRELOAD_S + START_S)


def measure(*, placement: Placement, seed: int, connections: int, rounds: int, duration_s: int, say: Say) -> Generators:
    """All rounds. Raises BlockFailed if one window cannot count, Unavailable."""
    scenario = check(connections)
    rng = random.Random(f"crosscheck {seed}")  # noqa: S311 - reproducible
    sent: list[Sent] = []
    for number in range(rounds):
        for position, kind in enumerate(rng.sample(KINDS, len(KINDS))):
            bench = Bench(
                scenario=scenario,
                profile="quick",
                variant="ceiling" if kind.endswith("fleet") else "nginx",
                placement=placement,
                seed=rng.getrandbits(48),
                hash_seed=rng.getrandbits(32),
                generator="rust",
            )
            found = msgspec.structs.replace(_window(bench, kind, duration_s), round=number, position=position)
            say(f"round {number + 1} of {rounds}, {kind}: {found.throughput_per_s:,.0f} requests/s")
            sent.append(found)
    return Generators(
        created=now(),
        wrk=wrk.version(),
        nginx=environment.nginx_version() or "unknown",
        seed=seed,
        connections=connections,
        request_bytes=len(wrk.request(10_000)),
        sent=tuple(sent),
    )


def _window(bench: Bench, kind: str, duration_s: int) -> Sent:
    with bench.fleet() as (fleet, port), bench.target(fleet, port) as target:
        warm(target, bench.scenario, calls=3)
        body = {**loadrun.plan(bench, target), "warmup_s": 0.0, "duration_s": duration_s}
        # Whoever measures then finds the same nginx: its connections to the fleet are open, its pages touched.
        loadrun.run(bench, target, {**body, "duration_s": PRELOAD_S})
        if kind.startswith("wrk"):
            return _wrk(bench, target, duration_s)
        found = loadrun.run(bench, target, body)
        metrics = loadrun.latency_metrics(found)
        if (why := loadrun.doubt(found)) or found.generator_cpu_s is None or found.cpu_us_per_request is None:
            raise BlockFailed(f"{kind}: {why or 'no processor time could be read'}; measure again")
        return Sent(
            round=0,
            position=0,
            generator="crossfade",
            target="fleet" if kind.endswith("fleet") else "nginx",
            duration_s=found.duration_s,
            requests=found.completed,
            throughput_per_s=found.throughput_per_s,
            p50_us=metrics["p50_us"],
            p99_us=metrics["p99_us"],
            generator_cpu_us=found.generator_cpu_s * 1e6 / found.completed,
            target_cpu_us=found.cpu_us_per_request,
        )


def _wrk(bench: Bench, target: Target, duration_s: int) -> Sent:
    load = bench.scenario.load
    assert load is not None  # noqa: S101 - see check
    with tempfile.TemporaryDirectory(prefix="crossfade-wrk-") as folder:
        before = target.clock()
        found = wrk.run(
            target.port,
            connections=load.connections,
            duration_s=duration_s,
            folder=Path(folder),
            cpus=bench.placement.rest,
        )
        spent = spent_ns(before, target.clock()) or 0
    return Sent(
        round=0,
        position=0,
        generator="wrk",
        target="nginx",
        duration_s=found.duration_s,
        requests=found.requests,
        throughput_per_s=found.requests / found.duration_s,
        p50_us=found.at(50.0),
        p99_us=found.at(99.0),
        generator_cpu_us=found.cpu_s * 1e6 / found.requests,
        target_cpu_us=spent / 1000 / found.requests,
        undone=found.undone,
    )


def rounds_of(found: Generators) -> Iterator[dict[str, Sent]]:
    """Each whole round, by kind."""
    for number in sorted({one.round for one in found.sent}):
        mine = {f"{one.generator} on {one.target}": one for one in found.sent if one.round == number}
        if len(mine) == len(KINDS):
            yield mine
