"""The blocks of a round in turns: every variant's processes stand side by side, and a moment of load, a tenth of a
second or less, goes to one after the other.

A machine that others share changes its speed from second to second, and between two blocks a few seconds apart by more
than what is looked for. Between neighbouring turns it hardly does (duet benchmarking, Bulej et al. 2020). The rules:
the processes are fresh in every round as ever, one alone is under load at any time, the order of a turn is turned round
in the next, and each turn is a phase of its own with its own window, connections and count.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from crossfade.harness.hdr import Histogram
from crossfade.harness.measure import latency, loadrun, throughput
from crossfade.harness.measure.bench import SERVER, Bench, Measured
from crossfade.harness.measure.target import Target
from crossfade.harness.problems import HarnessError
from crossfade.harness.processes import Child
from crossfade.harness.samples import LoadPoint, SeriesPoint
from crossfade.harness.stats.shape import classify

RAMP_S = 0.02
"""Before each turn's window: connections are open and requests under way."""
CONCLUDE: dict[str, Callable[[LoadPoint, Sequence[float]], Measured]] = {
    "throughput": throughput.measured,
    "calls": throughput.measured,
    "latency": lambda point, _: latency.conclude(point),
}
"""Kinds that can take turns: one phase of load, which may as well be many short ones."""


class Seat:
    """One variant of the round: its processes, and what it did in each turn."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.points: list[LoadPoint] = []
        self.failed: HarnessError | ProcessLookupError | None = None
        self._stack = contextlib.ExitStack()
        self._child: Child | None = None
        self._target: Target | None = None

    def guarded(self, step: Callable[[], None]) -> None:
        """Do it, unless this seat has failed; if it fails, the others go on."""
        if self.failed is None:
            try:
                step()
            except (HarnessError, ProcessLookupError) as error:
                self.failed = error
                self.leave()

    def sit(self) -> None:
        """Start everything, and warm it up as a block of its own would be."""
        bench = self.bench
        if bench.scenario.kind == "calls" and bench.variant != "ceiling":
            _, ports = self._stack.enter_context(bench.fleet())
            self._child, _ = self._stack.enter_context(bench.worker(ports, serve=False))
            self._target = Target(0, f"{SERVER}__echo", (self._child.pid,))
        else:
            self._target = self._stack.enter_context(bench.front())
        self._phase(0, RAMP_S, max(RAMP_S, bench.rounds.warmup_s))

    def turn(self, number: int) -> None:
        """One turn's load."""
        rounds = self.bench.rounds
        self.points.append(self._phase(number + 1, RAMP_S, rounds.duration_s / rounds.turns))

    def _phase(self, number: int, warmup_s: float, duration_s: float) -> LoadPoint:
        assert self._target is not None  # noqa: S101 - it sits
        body: dict[str, Any] = loadrun.plan(self.bench, self._target, seed_offset=number)
        body |= {"warmup_s": warmup_s, "duration_s": duration_s}
        if self._target.port == 0:
            assert self._child is not None  # noqa: S101 - set with the target
            self._child.send(throughput.order(body))
        elif self._child is None:
            self._child = self._stack.enter_context(self.bench.load(body))
        else:
            self._child.send(body)
        return loadrun.collect(self._child, self._target, body, during=None)

    def leave(self) -> None:
        """End everything."""
        self._stack.close()


def take(benches: Sequence[Bench]) -> list[Measured | HarnessError | ProcessLookupError]:
    """The blocks of one round, in the order given, each with its figures or what was wrong with it."""
    seats = [Seat(bench) for bench in benches]
    try:
        for seat in seats:
            seat.guarded(seat.sit)
        for number in range(benches[0].rounds.turns):
            for seat in seats if number % 2 == 0 else reversed(seats):
                seat.guarded(lambda seat=seat, number=number: seat.turn(number))  # type: ignore[misc]  # bound now
    finally:
        for seat in seats:
            seat.leave()
    pace = machine([seat.points for seat in seats if seat.failed is None])
    return [concluded(seat, pace) for seat in seats]


def machine(sat: Sequence[Sequence[LoadPoint]]) -> list[float]:
    """How fast the machine was in each turn: the geometric mean of everybody's rates, each over its own average.

    A variant is unstable if its rate is, over the machine's: what slows all of them down is not its doing. With nobody
    to compare with it counts as steady.
    """
    shares = []
    for points in sat:
        mean = math.fsum(p.throughput_per_s for p in points) / max(1, len(points))
        shares.append([p.throughput_per_s / mean if mean > 0 else 0.0 for p in points])
    if len(shares) < 2:
        return [1.0] * max(map(len, shares), default=0)
    # A turn in which somebody came to a stop says nothing of the machine.
    return [
        math.exp(math.fsum(map(math.log, turn)) / len(turn)) if min(turn) > 0 else 1.0
        for turn in zip(*shares, strict=True)
    ]


def concluded(seat: Seat, pace: Sequence[float]) -> Measured | HarnessError | ProcessLookupError:
    """The seat's figures: of all turns together, and of each."""
    if seat.failed is not None:
        return seat.failed
    try:
        whole = together(seat.points)
        found = CONCLUDE[seat.bench.scenario.kind](whole, steadier(seat.points, pace))
    except HarnessError as error:
        return error
    found.turns = per_turn(seat.points)
    return found


def steadier(points: Sequence[LoadPoint], pace: Sequence[float]) -> list[float]:
    """The rates of turns as they are, or where those are unstable, over the machine's.

    Not always the latter: what needs one processor alone does not follow what slows down those that need two.
    """
    own = [p.throughput_per_s for p in points]
    return own if classify(own) != "unstable" else [rate / speed for rate, speed in zip(own, pace, strict=True)]


def per_turn(points: Sequence[LoadPoint]) -> dict[str, tuple[float, ...]]:
    """The metrics that every turn has, turn by turn."""
    every: dict[str, list[float | None]] = {
        "throughput_per_s": [float(p.throughput_per_s) for p in points],
        "cpu_us_per_request": [p.cpu_us_per_request for p in points],
        "p50_us": [p.p50_us for p in points],
    }
    return {name: tuple(v for v in values if v) for name, values in every.items() if all(values)}


def together(points: Sequence[LoadPoint]) -> LoadPoint:
    """All turns as one phase: counts add up, histograms are merged, and each turn is one interval of the series."""
    first = points[0]
    histograms = {name: merged([getattr(p, name) for p in points]) for name in ("latency", "service", "lag")}
    whole_s = math.fsum(p.duration_s for p in points)
    completed = sum(p.completed for p in points)
    clocked = [p for p in points if p.cpu_us_per_request is not None]
    cpu_us = math.fsum((p.cpu_us_per_request or 0.0) * p.completed for p in clocked)
    series, at_ms = [], 0.0
    for p in points:
        at_ms += p.duration_s * 1000
        errors = sum(p.errors.values())
        in_window = round(p.throughput_per_s * p.duration_s)
        p50_us, p99_us = p.p50_us or 0.0, p.p99_us or 0.0
        series.append(SeriesPoint(t_ms=at_ms, completed=in_window, errors=errors, p50_us=p50_us, p99_us=p99_us))
    return msgspec.structs.replace(
        first,
        duration_s=whole_s,
        sent=sum(p.sent for p in points),
        completed=completed,
        errors=added([p.errors for p in points]),
        mismatches=sum(p.mismatches for p in points),
        missed_sends=sum(p.missed_sends for p in points),
        throughput_per_s=math.fsum(p.throughput_per_s * p.duration_s for p in points) / whole_s,
        cpu_us_per_request=cpu_us / completed if completed and len(clocked) == len(points) else None,
        **{name: found.encode() if found is not None else "" for name, found in histograms.items()},
        series=tuple(series),
        generator_cpu_s=math.fsum(p.generator_cpu_s or 0.0 for p in points),
        p50_us=loadrun.value_at(histograms["latency"], 50.0),
        p99_us=loadrun.value_at(histograms["latency"], 99.0),
        by_method=added([p.by_method for p in points]),
        cancelled=sum(p.cancelled for p in points),
        events=sum(p.events for p in points),
        sessions=sum(p.sessions for p in points),
    )


def merged(blobs: Sequence[str]) -> Histogram | None:
    """One histogram of many; None if there is none."""
    found = Histogram()
    for blob in filter(None, blobs):
        found.add(Histogram.decode(blob))
    return found if any(blobs) else None


def added(counts: Sequence[dict[str, int]]) -> dict[str, int]:
    """Counts by name, added up."""
    found: dict[str, int] = {}
    for count in counts:
        for name, number in count.items():
            found[name] = found.get(name, 0) + number
    return found
