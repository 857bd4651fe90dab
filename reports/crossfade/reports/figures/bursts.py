"""The drain of a burst: how much of it is answered, over time; and what a request costs over the number of nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crossfade.reports import words
from crossfade.reports.figures import is_narrow
from crossfade.reports.figures.labels import dashes, short, spread
from crossfade.reports.page import Drains, Scaling, Series
from crossfade.reports.svg import INK, Sheet

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_drain(found: Drains, width: float) -> Sheet:
    """Per cent answered over milliseconds since the burst; every line ends where its last answer came."""
    narrow = is_narrow(width)
    sheet = Sheet(width, 300 if narrow else 330)
    axes = sheet.axes(44, 26, width - (154 if narrow else 184), sheet.height - 26 - 50)
    most = max((ms for curve in found.curves for ms, _ in curve.points), default=1.0) or 1.0
    axes.set_xlim(0, most)
    axes.set_ylim(0, 100)
    axes.set_yticks([0, 25, 50, 75, 100], [f"{tick}\u202f%" for tick in (0, 25, 50, 75, 100)])
    axes.locator_params(axis="x", nbins=4 if narrow else 6)
    axes.grid(axis="y", color=INK["rule"])
    for curve in found.curves:
        ink = INK[curve.who.ink]
        axes.plot(
            [ms for ms, _ in curve.points], [share for _, share in curve.points], color=ink,
            linewidth=1.6 if curve.who.limit else 2.4, dashes=dashes(curve.who),
        )  # fmt: skip
        axes.plot(
            [curve.points[-1][0]], [100], linestyle="none", marker=curve.who.marker, markersize=7, color=ink,
            clip_on=False,
        )  # fmt: skip
    done = sorted(found.curves, key=lambda curve: curve.points[-1][0])
    _names(axes, [(c.who, 100.0 - 9 * i, words.milliseconds(c.points[-1][0])) for i, c in enumerate(done)])
    sheet.text(0, 14, "Answered since all were due", color=INK["soft"], fontsize=12)
    axes.set_xlabel("milliseconds", fontsize=12)
    return sheet


def plot_nodes(found: Scaling, width: float) -> Sheet:
    """CPU per request from nought, over one, two, four ... nodes at equal steps; a flat line is the hope."""
    narrow = is_narrow(width)
    sheet = Sheet(width, 300 if narrow else 330)
    axes = sheet.axes(44, 26, width - (154 if narrow else 184), sheet.height - 26 - 50)
    counts = sorted({point.nodes for curve in found.curves for point in curve.points})
    ends = [v for c in found.curves for p in c.points for v in (p.cpu_us.value, p.cpu_us.high or 0)]
    axes.set_xlim(0, max(1, len(counts) - 1))
    axes.set_ylim(0, max(ends, default=1.0) * 1.1 or 1.0)
    axes.set_xticks(range(len(counts)), [str(count) for count in counts])
    axes.locator_params(axis="y", nbins=5)
    axes.grid(axis="y", color=INK["rule"])
    for curve in found.curves:
        ink = INK[curve.who.ink]
        x = [counts.index(point.nodes) for point in curve.points]
        axes.plot(x, [p.cpu_us.value for p in curve.points], color=ink, linewidth=2.4, dashes=dashes(curve.who))
        axes.plot(
            x, [p.cpu_us.value for p in curve.points], linestyle="none", marker=curve.who.marker, markersize=7,
            color=ink, markeredgecolor=INK["paper"], clip_on=False,
        )  # fmt: skip
        for at, point in zip(x, curve.points, strict=True):
            if point.cpu_us.low is not None and point.cpu_us.high is not None:
                axes.plot([at, at], [point.cpu_us.low, point.cpu_us.high], color=ink, linewidth=1.4, clip_on=False)
    last = [(c.who, c.points[-1].cpu_us.value) for c in found.curves]
    _names(axes, [(who, value, words.digits(value)) for who, value in last])
    sheet.text(0, 14, "CPU \u00b5s per request, all nodes together", color=INK["soft"], fontsize=12)
    axes.set_xlabel("manager nodes", fontsize=12)
    return sheet


def _names(axes: Axes, ends: list[tuple[Series, float, str]]) -> None:
    """Each line's name and figure to the right of the axes, at its height there, pushed apart."""
    height = axes.get_window_extent().height
    low, high = axes.get_ylim()
    wanted = [(y - low) / (high - low) * height for _, y, _ in ends]
    for (who, _, told), at, start in zip(ends, spread(wanted, 16, 4, height - 4), wanted, strict=True):
        axes.annotate(
            f"{short(who.name)} {told}", (1, start / height), xycoords="axes fraction", xytext=(12, at - start),
            textcoords="offset points", va="center_baseline", color=INK["soft" if who.limit else who.ink],
            fontweight="normal" if who.limit else "bold", fontsize=12.5, annotation_clip=False,
        )  # fmt: skip
