"""Latency: against the offered rate, with the knee marked, and by percentile on the HDR axis."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from crossfade.reports import words
from crossfade.reports.figures import is_narrow
from crossfade.reports.figures.labels import dashes, short, spread
from crossfade.reports.page import RateCurve, Series, Sweep, Tails
from crossfade.reports.svg import INK, Sheet

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PERCENTILES = (50.0, 90.0, 99.0, 99.9)
HALO = 17.0


def plot_sweep(sweep: Sweep, width: float) -> Sheet:
    """p99 (strong) and p50 (thin) against the offered rate; a hollow mark is a rate that was not held."""
    narrow = is_narrow(width)
    sheet = Sheet(width, 380 if narrow else 440)
    knees = sorted(((c.knee, c) for c in sweep.curves if c.knee is not None), key=lambda pair: -pair[0])
    below = 46 + HALO * len(knees)
    axes = sheet.axes(44, 26, width - (112 if narrow else 150), sheet.height - 26 - below)
    rates = [point.rate for curve in sweep.curves for point in curve.points]
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(min(rates, default=1) * 0.85, max(rates, default=10) * 1.12)
    _milliseconds(axes, [ms for c in sweep.curves for p in c.points for ms in (p.p50_ms, p.p99_ms) if ms], narrow)
    axes.axhline(sweep.objective_ms, color=INK["soft"], linewidth=1.1, dashes=(5, 3))
    axes.annotate(
        f"objective: p99 within {sweep.objective_ms:g}\u202fms", (0, sweep.objective_ms),
        xycoords=("axes fraction", "data"), xytext=(4, 5), textcoords="offset points", color=INK["soft"], fontsize=12,
    )  # fmt: skip
    for curve in sweep.curves:
        _curve(axes, curve)
    _ends(axes, [(c.who, *last) for c in sweep.curves if (last := _last(c)) is not None])
    _rates(axes, narrow)
    for tier, (knee, curve) in enumerate(knees):
        _knee(axes, curve, knee, sweep.objective_ms, tier=tier)
    sheet.text(0, 14, "Latency from the intended send time", color=INK["soft"], fontsize=12)
    axes.annotate(
        "offered requests per second", (1, 0), xycoords="axes fraction", xytext=(0, -below + 4),
        textcoords="offset points", ha="right", color=INK["soft"], fontsize=12,
    )  # fmt: skip
    return sheet


def _curve(axes: Axes, curve: RateCurve) -> None:
    ink = INK[curve.who.ink]
    x = [p.rate for p in curve.points]
    dash = dashes(curve.who)
    axes.plot(x, [p.p50_ms or math.nan for p in curve.points], color=ink, linewidth=1.2, alpha=0.6, dashes=dash)
    p99 = [p.p99_ms or math.nan for p in curve.points]
    axes.plot(x, p99, color=ink, linewidth=1.6 if curve.who.limit else 2.4, dashes=dash)
    for point, y in zip(curve.points, p99, strict=True):
        axes.plot(
            [point.rate], [y], linestyle="none", marker=curve.who.marker, markersize=6.5, markeredgecolor=ink,
            markeredgewidth=1.5, markerfacecolor=ink if point.held else INK["paper"], clip_on=False,
        )  # fmt: skip


def _last(curve: RateCurve) -> tuple[float, float] | None:
    drawn = [(p.rate, p.p99_ms) for p in curve.points if p.p99_ms]
    return max(drawn) if drawn else None


def _knee(axes: Axes, curve: RateCurve, knee: float, objective_ms: float, *, tier: int) -> None:
    """A line dropped from the objective to below the axis, and beside its foot what it means in words."""
    ink = INK["soft" if curve.who.limit else curve.who.ink]
    height = axes.get_window_extent().height
    low, high = (math.log(limit) for limit in axes.get_ylim())
    foot = -(32 + HALO * tier) / height
    across = axes.get_xaxis_transform()
    start = (math.log(objective_ms) - low) / (high - low)
    axes.plot([knee] * 2, [foot, start], transform=across, color=ink, linewidth=1.3, dashes=(1.5, 2), clip_on=False)
    right = _share(axes, knee) > 0.5
    axes.annotate(
        f"{short(curve.who.name)} {'holds at least' if curve.beyond else 'holds'} {words.rate(knee)}/s",
        (knee, foot), xycoords=across, xytext=(-6 if right else 6, 0), textcoords="offset points",
        ha="right" if right else "left", color=ink, fontweight="normal" if curve.who.limit else "bold",
        fontsize=12.5, annotation_clip=False,
    )  # fmt: skip


def _share(axes: Axes, x: float) -> float:
    """How far along the axis x lies, 0..1."""
    left, right = axes.get_xlim()
    if axes.get_xscale() == "log":
        left, right, x = math.log(left), math.log(right), math.log(x)
    return (x - left) / (right - left)


def plot_tails(tails: Tails, width: float) -> Sheet:
    """Latency by percentile; the axis gives every further nine the same room. An open ring ends what the samples
    carry."""
    narrow = is_narrow(width)
    sheet = Sheet(width, 340 if narrow else 380)
    axes = sheet.axes(44, 26, width - (120 if narrow else 160), sheet.height - 26 - 50)
    axes.set_yscale("log")
    axes.set_xlim(_nines(10), _nines(PERCENTILES[-1]))
    _milliseconds(axes, [ms for t in tails.curves for p, ms in t.points if p >= 10 and ms > 0], narrow)
    axes.set_xticks([_nines(p) for p in PERCENTILES], [f"{p:g}" for p in PERCENTILES])
    axes.grid(axis="x", color=INK["rule"])
    ends: list[tuple[Series, float, float]] = []
    for tail in tails.curves:
        points = [(p, ms) for p, ms in tail.points if p >= 10 and ms > 0]
        if not points:
            continue
        ink = INK[tail.who.ink]
        axes.plot(
            [_nines(p) for p, _ in points], [ms for _, ms in points], color=ink,
            linewidth=1.6 if tail.who.limit else 2.4, dashes=dashes(tail.who),
        )  # fmt: skip
        for percentile in PERCENTILES:
            value = next((ms for p, ms in points if p == percentile), None)
            if value is not None:
                axes.plot(
                    [_nines(percentile)], [value], linestyle="none", marker=tail.who.marker, markersize=6, color=ink,
                    clip_on=False, markeredgecolor=INK["paper"], markeredgewidth=0.8,
                )  # fmt: skip
        last = points[-1]
        if tail.too_few:
            axes.plot(
                [_nines(last[0])], [last[1]], linestyle="none", marker="o", markersize=10,
                markerfacecolor="none", markeredgecolor=ink, markeredgewidth=1.4, clip_on=False,
            )  # fmt: skip
        ends.append((tail.who, _nines(last[0]), last[1]))
    _ends(axes, ends)
    sheet.text(0, 14, "Latency from the intended send time", color=INK["soft"], fontsize=12)
    axes.set_xlabel("percentile of requests, equal room for each nine", fontsize=12)
    return sheet


def _nines(percentile: float) -> float:
    return -math.log10(1 - percentile / 100)


def _milliseconds(axes: Axes, values: Sequence[float], narrow: bool) -> None:
    """A logarithmic axis of milliseconds with as many labels as there is room for."""
    low, high = min(values, default=0.1), max(values, default=10.0)
    low, high = low / 1.5, high * 1.6
    ticks = [m * 10.0**e for e in range(-4, 7) for m in (1, 2, 5) if low <= m * 10.0**e <= high]
    if len(ticks) > (7 if narrow else 9):
        ticks = [10.0**e for e in range(-4, 7) if low <= 10.0**e <= high]
    axes.set_ylim(low, high)
    axes.set_yticks(ticks, [f"{tick:g}\u202fms" if tick < 1000 else f"{tick / 1000:g}\u202fs" for tick in ticks])
    axes.set_yticks([], minor=True)
    axes.grid(axis="y", color=INK["rule"])


def _rates(axes: Axes, narrow: bool) -> None:
    """As many round rates on the logarithmic axis as there is room for."""
    low, high = axes.get_xlim()
    for steps in ((1, 1.5, 2, 3, 4, 5, 6, 8), (1, 2, 3, 5), (1, 2, 5), (1, 3), (1,)):
        ticks = [m * 10.0**e for e in range(8) for m in steps if low <= m * 10.0**e <= high]
        if len(ticks) <= (4 if narrow else 8):
            break
    axes.set_xticks(ticks, [f"{tick / 1000:g}k" if tick >= 1000 else f"{tick:g}" for tick in ticks])
    axes.set_xticks([], minor=True)


def _ends(axes: Axes, ends: Sequence[tuple[Series, float, float]]) -> None:
    """Each line's name at its right end, pushed apart where lines end together."""
    if not ends:
        return
    height = axes.get_window_extent().height
    low, high = (math.log(limit) for limit in axes.get_ylim())
    wanted = [(math.log(y) - low) / (high - low) * height for _, _, y in ends]
    for (who, x, _), at, y in zip(ends, spread(wanted, 15, 4, height - 4), wanted, strict=True):
        axes.annotate(
            short(who.name), (x, y / height), xycoords=("data", "axes fraction"), xytext=(10, at - y),
            textcoords="offset points", va="center_baseline", color=INK["soft" if who.limit else who.ink],
            fontweight="normal" if who.limit else "bold", fontsize=12.5, annotation_clip=False,
        )  # fmt: skip
