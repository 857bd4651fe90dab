"""A plate is a figure with its caption and its numbers: drawing, finding, how to read it, and the table behind it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from crossfade.reports import captions
from crossfade.reports.figures import draw, latency, memory, time, work
from crossfade.reports.page import Crash, Estimate, Ladder, Page, RateCurve, Sweep, Tail, Tails, Traces, Work
from crossfade.reports.svg import Sheet
from crossfade.reports.words import digits, milliseconds, rate, times

NONE = "\u2013"


@dataclass(frozen=True, slots=True)
class Table:
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Plate:
    """``svg`` is trusted markup, drawn here; every other field is text that the template escapes."""

    name: str
    title: str
    svg: str
    says: str
    read: str
    table: Table


@dataclass(frozen=True, slots=True)
class Plates:
    """The drawn page, in its sections."""

    work: tuple[Plate, ...]
    sweep: tuple[Plate, ...]
    tails: tuple[Plate, ...]
    memory: tuple[Plate, ...]
    crash: tuple[Plate, ...]
    traces: tuple[Plate, ...]


def plates(page: Page) -> Plates:
    """Draw everything there is; a section with no data has no plate."""
    return Plates(
        work=tuple(_work(found, i) for i, found in enumerate(page.work)),
        sweep=tuple(_sweep(found, i) for i, found in enumerate(page.sweeps)),
        tails=tuple(_tails(found, i) for i, found in enumerate(page.tails) if any(t.points for t in found.curves)),
        memory=tuple(_ladder(found, i) for i, found in enumerate(page.ladders)),
        crash=(_crash(page.crashes),) if page.crashes else (),
        traces=(_traces(page.traces),) if page.traces else (),
    )


def _plate(kind: str, title: str, says: str, read: str, table: Table, *, plot: Callable[[float], Sheet]) -> Plate:
    name = re.sub(r"[^a-z0-9-]+", "-", kind)
    return Plate(name, title, draw(name, f"{title}. {says}", plot).svg, says, read, table)


def _work(found: Work, index: int) -> Plate:
    cpu = {bar.who.name: digits(bar.value) for bar in found.cpu_us}
    rows = tuple((b.who.name, rate(b.value), cpu.get(b.who.name, NONE), str(len(b.blocks))) for b in found.throughput)
    return _plate(
        f"work-{index}",
        found.title,
        captions.work(found),
        captions.READ_WORK,
        Table(("", "requests/s", "CPU \u00b5s per request", "blocks"), rows),
        plot=lambda width: work.plot(found, width),
    )


def _sweep(found: Sweep, index: int) -> Plate:
    def row(curve: RateCurve, at: int) -> tuple[str, ...]:
        p = curve.points[at]
        return (
            curve.who.name,
            rate(p.rate),
            rate(p.achieved),
            _ms(p.p50_ms),
            _ms(p.p99_ms),
            "held" if p.held else "not held",
        )

    return _plate(
        f"sweep-{index}",
        "Latency against rate",
        captions.sweep(found),
        captions.READ_SWEEP,
        Table(
            ("", "offered/s", "answered/s", "p50", "p99", "objective"),
            tuple(row(curve, i) for curve in found.curves for i in range(len(curve.points))),
        ),
        plot=lambda width: latency.plot_sweep(found, width),
    )


def _tails(found: Tails, index: int) -> Plate:
    def row(tail: Tail) -> tuple[str, ...]:
        values = dict(tail.points)
        shown = (milliseconds(values[p]) if p in values else "too few" for p in latency.PERCENTILES)
        return (tail.who.name, *shown, f"{tail.samples:,}")

    return _plate(
        f"tails-{index}",
        f"Latency by percentile at {found.load}",
        captions.tails(found),
        captions.READ_TAILS,
        Table(("", *(f"p{p:g}" for p in latency.PERCENTILES), "samples"), tuple(row(t) for t in found.curves)),
        plot=lambda width: latency.plot_tails(found, width),
    )


def _ladder(found: Ladder, index: int) -> Plate:
    rows = tuple(
        (
            memory.name(fit), interval(fit.slope), f"{fit.target:g}" if fit.target is not None else NONE,
            digits(fit.intercept_mib), f"{fit.r2:.4f}", str(len(fit.points)),
        )
        for fit in found.fits
    )  # fmt: skip
    return _plate(
        f"memory-{index}",
        found.title,
        captions.ladder(found),
        captions.READ_LADDER,
        Table(("", "KiB per connection", "asked, at most", "MiB without connections", "R\u00b2", "processes"), rows),
        plot=lambda width: memory.plot(found, width),
    )


def _crash(found: Sequence[Crash]) -> Plate:
    rows = tuple(
        (
            crash.who.name, _count(crash.failed), _count(crash.hung), _ms(crash.first_success_ms),
            _ms(crash.restored_ms), str(len(crash.blocks)),
        )
        for crash in found
    )  # fmt: skip
    return _plate(
        "crash",
        "The upstream dies under load and comes back",
        captions.crash(found),
        captions.READ_CRASH,
        Table(("", "failed", "hung", "first success after", "90\u202f% of the rate after", "blocks"), rows),
        plot=lambda width: time.plot_crash(found, width),
    )


def _traces(found: Sequence[Traces]) -> Plate:
    rows = tuple(
        (t.scenario, t.who.name, ", ".join("void" if b.voided else b.shape for b in t.blocks)) for t in found
    )  # fmt: skip
    return _plate(
        "traces",
        "Every block over time",
        captions.traces(found),
        captions.READ_TRACES,
        Table(("scenario", "", "blocks in running order"), rows),
        plot=lambda width: time.plot_traces(found, width),
    )


def interval(found: Estimate) -> str:
    """21.0 (19.9 to 22.1)"""
    if found.low is None or found.high is None:
        return digits(found.value)
    return f"{digits(found.value)} ({digits(found.low)} to {digits(found.high)})"


def gain(found: Estimate) -> str:
    """2.2 (2.1 to 2.3), as factors"""
    if found.low is None or found.high is None:
        return times(found.value)
    return f"{times(found.value)} ({times(found.low)} to {times(found.high)})"


def _ms(value: float | None) -> str:
    return NONE if value is None else milliseconds(value)


def _count(value: float | None) -> str:
    return NONE if value is None else digits(value)
