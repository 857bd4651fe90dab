"""Throughput and CPU per request: a bar per variant, a dot per block, limits as lines across."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from crossfade.reports import words
from crossfade.reports.figures import is_narrow
from crossfade.reports.figures.labels import dashes, short
from crossfade.reports.page import Bar, Work
from crossfade.reports.svg import INK, Sheet

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ROW = 30.0
TIER = 16.0
BETWEEN = 22.0


def plot(work: Work, width: float) -> Sheet:
    """Throughput left and CPU right, one below the other on a phone."""
    narrow = is_narrow(width)
    gutter, gap, edge = (74.0, 0.0, 58.0) if narrow else (92.0, 64.0, 62.0)
    columns = 1 if narrow else 2
    span = (width - gutter - columns * edge - (columns - 1) * gap) / columns
    panels = [
        panel
        for panel in (("Requests per second", work.throughput, "rate"), ("CPU \u00b5s per request", work.cpu_us, "cpu"))
        if panel[1]
    ]
    heights = [_panel_height(bars) for _, bars, _ in panels]
    sheet = Sheet(width, sum(heights) + BETWEEN * (len(heights) - 1) if narrow else max(heights))
    top, left = 0.0, gutter
    for (title, bars, kind), height in zip(panels, heights, strict=True):
        drop = 0.0 if narrow else max(heights) - height  # so that the rows of both panels stand level
        _panel(sheet, (left, top + drop, span, height), title, bars, kind, named=narrow or left == gutter)
        if narrow:
            top += height + BETWEEN
        else:
            left += span + edge + gap
    return sheet


def _panel_height(bars: Sequence[Bar]) -> float:
    limits = sum(bar.who.limit for bar in bars)
    return 20 + TIER * limits + ROW * max(1, len(bars) - limits) + 4


def _panel(
    sheet: Sheet, box: tuple[float, float, float, float], title: str, bars: Sequence[Bar], kind: str, *, named: bool
) -> None:
    left, top, width, height = box
    variants = [bar for bar in bars if not bar.who.limit]
    limits = sorted((bar for bar in bars if bar.who.limit), key=lambda bar: -bar.value)
    sheet.text(left, top + 12, title, color=INK["soft"], fontsize=12)
    rows = ROW * max(1, len(variants))  # where every variant failed, the limits stand alone
    axes = sheet.axes(left, top + height - rows - 4, width, rows)
    most = max((value for bar in bars for value in (bar.value, *bar.blocks)), default=1.0) or 1.0
    axes.set_xlim(0, most * 1.02)
    axes.set_ylim(max(1, len(variants)) - 0.5, -0.5)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines["bottom"].set_visible(False)
    axes.axvline(0, color=INK["faint"], linewidth=1.5, clip_on=False)
    shown = words.rate if kind == "rate" else words.digits
    for tier, bar in enumerate(limits):
        _limit(axes, bar, shown(bar.value), rows=rows, rise=(len(limits) - tier) * TIER, most=most)
    for y, bar in enumerate(variants):
        ink = INK[bar.who.ink]
        axes.barh(y, bar.value, height=0.46, color=ink, alpha=0.3, linewidth=0)
        axes.plot([bar.value] * 2, [y - 0.3, y + 0.3], color=ink, linewidth=2.6, solid_capstyle="butt", clip_on=False)
        axes.plot(
            bar.blocks, [y] * len(bar.blocks), linestyle="none", marker=bar.who.marker, markersize=5.5,
            markerfacecolor=ink, markeredgecolor=INK["paper"], markeredgewidth=0.8, clip_on=False,
        )  # fmt: skip
        axes.annotate(
            shown(bar.value), (max((bar.value, *bar.blocks)), y), xytext=(8, 0), textcoords="offset points",
            va="center_baseline", color=ink, fontweight="bold", fontsize=13, annotation_clip=False,
        )  # fmt: skip
        if named:
            axes.annotate(
                short(bar.who.name), (0, y), xytext=(-9, 0), textcoords="offset points", ha="right",
                va="center_baseline", color=ink, fontsize=12.5, annotation_clip=False,
            )  # fmt: skip


def _limit(axes: Axes, bar: Bar, value: str, *, rows: float, rise: float, most: float) -> None:
    """A dashed line through all rows that stands ``rise`` above them and ends in the limit's name and value."""
    axes.axvline(
        bar.value, ymin=0, ymax=1 + (rise - 5) / rows, color=INK["limit"], linewidth=1.2,
        dashes=dashes(bar.who), clip_on=False,
    )  # fmt: skip
    right = bar.value > most * 0.4
    axes.annotate(
        f"{short(bar.who.name)} {value}", (bar.value, 1 + (rise - 10) / rows), xycoords=("data", "axes fraction"),
        xytext=(-5 if right else 5, 0), textcoords="offset points", ha="right" if right else "left",
        color=INK["soft"], fontsize=12, annotation_clip=False,
    )  # fmt: skip
