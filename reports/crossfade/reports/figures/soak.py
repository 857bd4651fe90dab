"""Memory over time in a soak: every reading, and the line of its growth after the warm-up."""

from __future__ import annotations

from crossfade.reports.figures import is_narrow
from crossfade.reports.figures.labels import short, spread
from crossfade.reports.page import Soak, SoakCurve
from crossfade.reports.svg import INK, Sheet
from crossfade.reports.words import digits

LEAST_MIB = 0.5
"""The axis reaches at least so far both ways, or the noise of an allocator would fill it."""


def plot(found: Soak, width: float) -> Sheet:
    """MiB above the end of the warm-up over minutes; each line's name and growth stand at its end."""
    narrow = is_narrow(width)
    sheet = Sheet(width, 300 if narrow else 340)
    axes = sheet.axes(44, 26, width - (154 if narrow else 204), sheet.height - 26 - 50)
    grown = [(curve, _above(curve)) for curve in found.curves]
    seen = [mib for curve, points in grown for _, mib in points[curve.cut :]]
    low, high = min([*seen, -LEAST_MIB]), max([*seen, LEAST_MIB])
    room = 0.06 * (high - low)
    axes.set_ylim(low - room, high + room)
    axes.set_xlim(0, max((at for _, points in grown for at, _ in points), default=1.0) or 1.0)
    axes.locator_params(axis="x", nbins=4 if narrow else 6)
    axes.locator_params(axis="y", nbins=5)
    axes.grid(axis="y", color=INK["rule"])
    ends: dict[str, tuple[SoakCurve, float, list[float]]] = {}
    for curve, points in grown:
        ink = INK[curve.who.ink]
        # The warm-up may lie far below: what does not fit is left to the words.
        warm = [p for p in points[: curve.cut] if low - room <= p[1] <= high + room]
        for part, filled in ((warm, False), (points[curve.cut :], True)):
            axes.plot(
                [at for at, _ in part], [mib for _, mib in part], linestyle="none", marker=curve.who.marker,
                markersize=3.6, markerfacecolor=ink if filled else INK["paper"], markeredgecolor=ink,
                markeredgewidth=0.6, alpha=0.6,
            )  # fmt: skip
        if curve.line is not None and curve.per_1000_calls is not None:
            (begin, first), (end, last) = curve.line
            axes.plot([begin, end], [0.0, last - first], color=ink, linewidth=2.2, clip_on=False)
            _, _, slopes = ends.setdefault(curve.who.name, (curve, last - first, []))
            slopes.append(curve.per_1000_calls.value)
    height = axes.get_window_extent().height
    span = high - low + 2 * room
    wanted = [(end - low + room) / span * height for _, end, _ in ends.values()]
    places = spread(wanted, 34, 8, height - 20)
    for (curve, _, slopes), at, start in zip(ends.values(), places, wanted, strict=True):
        told = f"{digits(min(slopes))} to {digits(max(slopes))}" if len(slopes) > 1 else digits(slopes[0])
        for line, below, weight in ((short(curve.who.name), 0, "bold"), (told, -15, "normal")):
            axes.annotate(
                line, (1, start / height), xycoords="axes fraction", xytext=(12, at - start + below),
                textcoords="offset points", va="center_baseline", color=INK[curve.who.ink], fontweight=weight,
                fontsize=12.5, annotation_clip=False,
            )  # fmt: skip
    sheet.text(0, 14, "MiB above the end of the warm-up; KiB per 1,000 calls", color=INK["soft"], fontsize=12)
    axes.set_xlabel("minutes", fontsize=12)
    return sheet


def _above(curve: SoakCurve) -> list[tuple[float, float]]:
    """The readings less the line's height where it begins; less the first one where there is no line."""
    level = curve.line[0][1] if curve.line is not None else curve.points[0][1]
    return [(at, mib - level) for at, mib in curve.points]
