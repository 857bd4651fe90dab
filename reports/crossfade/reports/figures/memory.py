"""Memory ladders: growth above the empty process with its fitted line, and the slope's interval against its target."""

from __future__ import annotations

from crossfade.reports import words
from crossfade.reports.figures import is_narrow
from crossfade.reports.figures.labels import short, spread
from crossfade.reports.page import Fit, Ladder
from crossfade.reports.svg import INK, Sheet

ROW = 34.0


def plot(ladder: Ladder, width: float) -> Sheet:
    """Left the ladder, right the slopes; on a phone one below the other."""
    narrow = is_narrow(width)
    rows = ROW * len(ladder.fits)
    if narrow:
        sheet = Sheet(width, 26 + 230 + 50 + 34 + rows + 34)
        _climb(sheet, ladder, (40, 26, width - 40 - 96, 230), narrow=True)
        _slopes(sheet, ladder, (116, 26 + 230 + 50 + 34, width - 116 - 14, rows), narrow=True)
    else:
        tall = max(250.0, rows + 40)
        sheet = Sheet(width, 26 + tall + 50)
        _climb(sheet, ladder, (44, 26, 330, tall), narrow=False)
        _slopes(sheet, ladder, (608, 56, width - 608 - 16, rows), narrow=False)
    return sheet


def _climb(sheet: Sheet, ladder: Ladder, box: tuple[float, float, float, float], *, narrow: bool) -> None:
    left, top, width, height = box
    fits = ladder.fits
    sheet.text(0, top - 12, f"MiB above the process without {counted(ladder)}", color=INK["soft"], fontsize=12)
    axes = sheet.axes(left, top, width, height)
    most = max((n for fit in fits for n, _ in fit.points), default=1.0)
    ends = []
    for fit in fits:
        ink = INK[fit.who.ink]
        grown = [(n, kib / 1024 - fit.intercept_mib) for n, kib in fit.points]
        end = fit.slope.value * most / 1024
        loaded = fit.state != "idle"
        axes.plot([0, most], [0, end], color=ink, linewidth=1.8, dashes=(4, 2.5) if loaded else (None, None))
        axes.plot(
            [n for n, _ in grown], [mib for _, mib in grown], linestyle="none", marker=fit.who.marker, markersize=6.5,
            markerfacecolor=INK["paper"] if loaded else ink, markeredgecolor=ink, markeredgewidth=1.3, clip_on=False,
        )  # fmt: skip
        ends.append(end)
    seen = [kib / 1024 - fit.intercept_mib for fit in fits for _, kib in fit.points]
    high = max([*ends, *seen, 0.01]) * 1.1
    axes.set_ylim(min([*ends, *seen, 0.0]) * 1.1, high)
    axes.set_xlim(0, most)
    axes.locator_params(axis="x", nbins=4 if narrow else 5)
    axes.locator_params(axis="y", nbins=5)
    axes.grid(axis="y", color=INK["rule"])
    axes.set_xlabel(counted(ladder))
    scale = height / (high - axes.get_ylim()[0])
    wanted = [end * scale for end in ends]
    for fit, end, at, y in zip(fits, ends, spread(wanted, 16, 0, height), wanted, strict=True):
        axes.annotate(
            name(fit), (most, end), xytext=(8, at - y), textcoords="offset points", va="center_baseline",
            color=INK[fit.who.ink], fontweight="bold", fontsize=12.5, annotation_clip=False,
        )  # fmt: skip


def _slopes(sheet: Sheet, ladder: Ladder, box: tuple[float, float, float, float], *, narrow: bool) -> None:
    left, top, width, height = box
    fits = ladder.fits
    sheet.text(
        0 if narrow else left,
        top - 26,
        f"KiB per {ladder.per}, 95 % interval",
        color=INK["soft"],
        fontsize=12,
    )
    axes = sheet.axes(left, top, width, height)
    most = max([v for f in fits for v in (f.slope.value, f.slope.high or 0, f.target or 0)] + [0.1])
    least = min([f.slope.low or 0.0 for f in fits] + [0.0])
    axes.set_xlim(least, most * 1.1)
    axes.set_ylim(len(fits) - 0.5, -0.5)
    axes.set_yticks([])
    axes.grid(axis="x", color=INK["rule"])
    axes.locator_params(axis="x", nbins=4 if narrow else 5)
    for y, fit in enumerate(fits):
        ink = INK[fit.who.ink]
        if fit.target is not None:
            axes.barh(y, fit.target, height=0.62, color=INK["rule"], linewidth=0)
            axes.plot([fit.target] * 2, [y - 0.36, y + 0.36], color=INK["soft"], linewidth=1.8, solid_capstyle="butt")
        if fit.slope.low is not None and fit.slope.high is not None:
            axes.plot([fit.slope.low, fit.slope.high], [y, y], color=ink, linewidth=3.2, solid_capstyle="round")
        axes.plot(
            [fit.slope.value], [y], linestyle="none", marker=fit.who.marker, markersize=8, markerfacecolor=ink,
            clip_on=False, markeredgecolor=INK["paper"], markeredgewidth=1,
        )  # fmt: skip
        axes.annotate(
            f"{name(fit)}  {words.digits(fit.slope.value)}", (0, y), xycoords=("axes fraction", "data"),
            xytext=(-10, 0), textcoords="offset points", ha="right", va="center_baseline", color=ink, fontsize=12.5,
            annotation_clip=False,
        )  # fmt: skip


def counted(ladder: Ladder) -> str:
    """What the rungs count, in the plural."""
    return "stdio children" if ladder.per == "stdio child" else f"{ladder.per}s"


def name(fit: Fit) -> str:
    """The variant, and whether its connections had a call in flight."""
    return short(fit.who.name) if fit.state == "idle" else f"{short(fit.who.name)}, busy"
