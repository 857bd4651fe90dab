"""The page drawn: every figure of it as a plate, in its section."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from crossfade.reports import captions, plates_events, plates_memory
from crossfade.reports.figures import latency, time, work
from crossfade.reports.page import Page, Quantiles, RateCurve, Sweep, Tail, Tails, Traces, Work
from crossfade.reports.plate import NONE, Plate, Table, count, make, ms
from crossfade.reports.words import digits, milliseconds, rate


@dataclass(frozen=True, slots=True)
class Plates:
    """The drawn page, in its sections."""

    work: tuple[Plate, ...]
    sweep: tuple[Plate, ...]
    tails: tuple[Plate, ...]
    memory: tuple[Plate, ...]
    crash: tuple[Plate, ...]
    changes: tuple[Plate, ...]
    drains: tuple[Plate, ...]
    scalings: tuple[Plate, ...]
    traces: tuple[Plate, ...]


def plates(page: Page) -> Plates:
    """Draw everything there is; a section with no data has no plate."""
    return Plates(
        work=tuple(_work(found, i) for i, found in enumerate(page.work)),
        sweep=tuple(_sweep(found, i) for i, found in enumerate(page.sweeps)),
        tails=tuple(_tails(found, i) for i, found in enumerate(page.tails) if any(t.points for t in found.curves)),
        memory=plates_memory.plates(page),
        crash=plates_events.ways(page.crashes, "crash"),
        changes=plates_events.ways(page.changes, "change"),
        drains=tuple(plates_events.drain(found, i) for i, found in enumerate(page.drains)),
        scalings=tuple(plates_events.scaling(found, i) for i, found in enumerate(page.scalings)),
        traces=(_traces(page.traces),) if page.traces else (),
    )


def _work(found: Work, index: int) -> Plate:
    cpu = {bar.who.name: digits(bar.value) for bar in found.cpu_us}
    rows = tuple((b.who.name, rate(b.value), cpu.get(b.who.name, NONE), str(len(b.blocks))) for b in found.throughput)
    return make(
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
            ms(p.p50_ms),
            ms(p.p99_ms),
            count(p.cpu_us),
            "held" if p.held else "not held",
        )

    return make(
        f"sweep-{index}",
        "Latency against rate",
        captions.sweep(found),
        captions.READ_SWEEP,
        Table(
            ("", "offered/s", "answered/s", "p50", "p99", "CPU \u00b5s per request", "objective"),
            tuple(row(curve, i) for curve in found.curves for i in range(len(curve.points))),
        ),
        plot=lambda width: latency.plot_sweep(found, width),
    )


def _tails(found: Tails, index: int) -> Plate:
    def row(tail: Tail) -> tuple[str, ...]:
        values = dict(tail.points)
        shown = (milliseconds(values[p]) if p in values else "too few" for p in latency.PERCENTILES)
        return (tail.who.name, *shown, f"{tail.samples:,}", _pair(tail.service_ms), _pair(tail.lag_ms))

    return make(
        f"tails-{index}",
        f"Latency by percentile at {found.load}",
        captions.tails(found),
        captions.READ_TAILS,
        Table(
            (
                "",
                *(f"p{p:g}" for p in latency.PERCENTILES),
                "samples",
                "service p50 / p99",
                "generator lag p50 / p99",
            ),
            tuple(row(t) for t in found.curves),
        ),
        plot=lambda width: latency.plot_tails(found, width),
    )


def _pair(found: Quantiles) -> str:
    return NONE if found == (None, None) else " / ".join(map(ms, found))


PANELS = 16
"""Series that are all drawn; of more, only those in which some block is not level."""


def _traces(found: Sequence[Traces]) -> Plate:
    rows = tuple(
        (t.scenario, t.who.name, ", ".join("void" if b.voided else b.shape for b in t.blocks)) for t in found
    )  # fmt: skip
    drawn = (
        found if len(found) <= PANELS else [t for t in found if any(b.voided or b.shape != "flat" for b in t.blocks)]
    )
    left = (
        f" Drawn are the {len(drawn)} of {len(found)} series in which some block is not."
        if len(drawn) < len(found)
        else ""
    )
    return make(
        "traces",
        "Every block over time",
        captions.traces(found) + left,
        captions.READ_TRACES,
        Table(("scenario", "", "blocks in running order"), rows),
        plot=lambda width: time.plot_traces(drawn or found[:1], width),
    )
