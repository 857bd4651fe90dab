"""Plates of memory: a ladder each, and memory over time in a soak."""

from __future__ import annotations

from crossfade.reports import captions_memory as captions
from crossfade.reports.figures import memory, soak
from crossfade.reports.page import Ladder, Page, Soak
from crossfade.reports.plate import NONE, Plate, Table, interval, make
from crossfade.reports.words import digits


def plates(page: Page) -> tuple[Plate, ...]:
    """All of them, ladders first."""
    return (
        *(_ladder(found, i) for i, found in enumerate(page.ladders)),
        *(_soak(found, i) for i, found in enumerate(page.soaks)),
    )


def _ladder(found: Ladder, index: int) -> Plate:
    rows = tuple(
        (
            memory.name(fit), interval(fit.slope), f"{fit.target:g}" if fit.target is not None else NONE,
            digits(fit.intercept_mib), f"{fit.r2:.4f}", str(len(fit.points)),
        )
        for fit in found.fits
    )  # fmt: skip
    none = f"MiB without {memory.counted(found)}"
    return make(
        f"memory-{index}",
        found.title,
        captions.ladder(found),
        captions.READ_LADDER,
        Table(("", f"KiB per {found.per}", "asked, at most", none, "R\u00b2", "processes"), rows),
        plot=lambda width: memory.plot(found, width),
    )


def _soak(found: Soak, index: int) -> Plate:
    rows = tuple(
        (
            curve.who.name,
            str(curve.round),
            interval(curve.per_1000_calls) if curve.per_1000_calls is not None else NONE,
            interval(curve.per_minute) if curve.per_minute is not None else NONE,
            f"{curve.calls:,}",
            curve.course,
        )
        for curve in found.curves
    )
    return make(
        f"soak-{index}",
        found.title,
        captions.soak(found),
        captions.READ_SOAK,
        Table(("", "round", "KiB per 1,000 calls", "KiB per minute", "calls", "memory"), rows),
        plot=lambda width: soak.plot(found, width),
    )
