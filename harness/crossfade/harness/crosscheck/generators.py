"""Our generator and wrk in turn on one endpoint: nginx as a plain reverse proxy before the fleet.

A round has a fresh nginx and fresh fleets, warmed by the same load, and the generators stand on the same processor,
the fleet's. In a round they take turns of a second or more at the same nginx, and ours also straight at a fleet, in an
order drawn from the seed and turned round in every second turn: what is compared is the mean log-ratio of a round's
turns. Two nginx processes differ among themselves, and a shared machine does from one half minute to the next.

The connections have to saturate nginx. A closed loop's cycle is the latency and the generator's own turn, from an
answer read to the next request written (Little: connections = throughput x (latency + turn)); both generators read all
that is there before they write, and wrk's turn is longer, by its two calls of ``epoll_ctl`` per request. With few
connections that difference is a part of the latency worth seeing; with many it is lost in nginx's line.

What is left then is nginx's own. A saturated one is as fast as its requests are cheap, and a generator can make them
dear: whenever one has to be woken for an answer, nginx sends an interrupt across processors as it writes it. wrk's
longer turn gathers answers; ours stands back instead (``load.py``), and ``target_cpu_us`` says whether that is enough:
what nginx spent on a request under each generator.
"""

from __future__ import annotations

import contextlib
import random
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import fmean

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
OURS, WRK, BARE = "crossfade on nginx", "wrk on nginx", "crossfade on fleet"
KINDS = (OURS, WRK, BARE)
PRELOAD_S = 0.4
START_S, WINDOW_S = 1.5, 0.05
"""Starting and ending the processes of a round, and of a window; for the estimate."""
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


def estimate_s(rounds: int, turns: int, duration_s: int) -> float:
    """Seconds that :func:`measure` takes."""
    return rounds * (START_S + len(KINDS) * turns * (duration_s + WINDOW_S))


def measure(
    *, placement: Placement, seed: int, connections: int, rounds: int, turns: int, duration_s: int, say: Say
) -> Generators:
    """All rounds. Raises BlockFailed if one window cannot count, Unavailable."""
    scenario = check(connections)
    rng = random.Random(f"crosscheck {seed}")  # noqa: S311 - reproducible
    sent: list[Sent] = []
    for number in range(rounds):
        order = rng.sample(KINDS, len(KINDS))
        with contextlib.ExitStack() as stack:
            ends = {
                variant: _end(
                    stack,
                    Bench(
                        scenario=scenario,
                        profile="quick",
                        variant=variant,
                        placement=placement,
                        seed=rng.getrandbits(48),
                        hash_seed=rng.getrandbits(32),
                        generator="rust",
                    ),
                )
                for variant in ("nginx", "ceiling")
            }
            for turn in range(turns):
                for position, kind in enumerate(order if turn % 2 == 0 else reversed(order)):
                    bench, target = ends["ceiling" if kind == BARE else "nginx"]
                    window = _wrk if kind == WRK else _ours
                    found = window(bench, target, duration_s)
                    sent.append(msgspec.structs.replace(found, round=number, turn=turn, position=position))
        say(f"round {number + 1} of {rounds}: {_in_brief(sent, number)}")
    return Generators(
        created=now(),
        wrk=wrk.version(),
        nginx=environment.nginx_version() or "unknown",
        seed=seed,
        connections=connections,
        request_bytes=len(wrk.request(10_000)),
        sent=tuple(sent),
    )


def _end(stack: contextlib.ExitStack, bench: Bench) -> tuple[Bench, Target]:
    """An endpoint that has seen the load: its connections to the fleet are open, its pages touched."""
    fleet, ports = stack.enter_context(bench.fleet())
    target = stack.enter_context(bench.target(fleet, ports))
    warm(target, bench.scenario, calls=3)
    loadrun.run(bench, target, {**loadrun.plan(bench, target), "warmup_s": 0.0, "duration_s": PRELOAD_S})
    return bench, target


def _in_brief(sent: Sequence[Sent], number: int) -> str:
    mine = [one for one in sent if one.round == number]
    rates = {kind: [one.throughput_per_s for one in mine if kind_of(one) == kind] for kind in KINDS}
    return ", ".join(f"{kind} {fmean(values):,.0f}/s" for kind, values in rates.items())


def _ours(bench: Bench, target: Target, duration_s: int) -> Sent:
    found = loadrun.run(bench, target, {**loadrun.plan(bench, target), "warmup_s": 0.0, "duration_s": duration_s})
    metrics = loadrun.latency_metrics(found)
    if (why := loadrun.doubt(found)) or found.generator_cpu_s is None or found.cpu_us_per_request is None:
        raise BlockFailed(f"crossfade's generator: {why or 'no processor time could be read'}; measure again")
    return Sent(
        round=0,
        position=0,
        generator="crossfade",
        target="fleet" if bench.variant == "ceiling" else "nginx",
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


def kind_of(one: Sent) -> str:
    """Which of ``KINDS`` a window was."""
    return f"{one.generator} on {one.target}"


def rounds_of(found: Generators) -> Iterator[list[dict[str, Sent]]]:
    """Each round as its whole turns, each by kind."""
    for number in sorted({one.round for one in found.sent}):
        turns: dict[int, dict[str, Sent]] = {}
        for one in found.sent:
            if one.round == number:
                turns.setdefault(one.turn, {})[kind_of(one)] = one
        if whole := [turn for turn in turns.values() if len(turn) == len(KINDS)]:
            yield whole
