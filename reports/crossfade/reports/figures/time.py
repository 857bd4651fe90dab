"""What happened inside blocks, over time: the way through a fault, and the series of every block side by side."""

from __future__ import annotations

import math
from collections.abc import Sequence

from crossfade.reports import words
from crossfade.reports.figures import is_narrow
from crossfade.reports.figures.labels import short
from crossfade.reports.page import Crash, CrashBlock, Trace, Traces
from crossfade.reports.svg import INK, Sheet

LETTER = 6.6
"""Width of a letter of a mark's words, in pixels, with room to spare."""
DRAWN = 12
"""Blocks of one panel that are drawn, evenly over the rounds: more lines on top of each other show no more."""


def sampled(blocks: Sequence[CrashBlock]) -> list[CrashBlock]:
    """At most :data:`DRAWN` of them, the first included."""
    step = max(1, math.ceil(len(blocks) / DRAWN))
    return list(blocks[::step])


def shown(blocks: Sequence[Trace]) -> list[Trace]:
    """Every block that does not count, and at most :data:`DRAWN` of those that do."""
    good = [block for block in blocks if not block.voided]
    step = max(1, math.ceil(len(good) / DRAWN))
    return [*good[::step], *(block for block in blocks if block.voided)]


def plot_crash(crashes: Sequence[Crash], width: float) -> Sheet:
    """One panel per variant on one clock: answers per second above the line, errors per second below it."""
    narrow = is_narrow(width)
    above, below, gap = (92.0, 44.0, 54.0) if narrow else (110.0, 50.0, 50.0)
    sheet = Sheet(width, 8 + len(crashes) * (above + below + gap) + 26)
    left, right = (8.0, 8.0) if narrow else (96.0, 16.0)
    times = [t for crash in crashes for block in crash.blocks for t in block.t_s]
    span = (min(times, default=-1.0), max(times, default=1.0))
    most = max((v for c in crashes for b in c.blocks for v in b.completed_per_s), default=1.0) or 1.0
    worst = max((v for c in crashes for b in c.blocks for v in b.errors_per_s), default=0.0)
    for row, crash in enumerate(crashes):
        top = 8 + row * (above + below + gap) + 34
        _answers(sheet, crash, (left, top, width - left - right, above), span, most, narrow=narrow)
        _errors(sheet, crash, (left, top + above, width - left - right, below), span, worst)
    return sheet


def _answers(
    sheet: Sheet,
    crash: Crash,
    box: tuple[float, float, float, float],
    span: tuple[float, float],
    most: float,
    *,
    narrow: bool,
) -> None:
    left, top, width, height = box
    ink = INK[crash.who.ink]
    axes = sheet.axes(left, top, width, height)
    axes.set_xlim(*span)
    axes.set_ylim(0, most * 1.05)
    axes.set_xticks([])
    axes.set_yticks([])
    marks = sorted({(round(t, 1), what) for block in crash.blocks[:1] for t, what in block.marks})
    for order, (t, what) in enumerate(marks):
        ink_of = INK["bad"] if t <= 0 else INK["good"]
        axes.axvline(t, color=ink_of, linewidth=1.4, ymin=-0.6, clip_on=False)
        # The first stands left of its line, above the panel; where there is no room for it, inside the panel.
        fits = left + (t - span[0]) / ((span[1] - span[0]) or 1.0) * width > LETTER * len(what)
        before = order == 0 and fits
        if 0 < order < len(marks) - 1:
            continue  # a server that flaps has many; the first and the last have words
        axes.annotate(
            what, (t, 1), xycoords=("data", "axes fraction"), xytext=(-4 if before else 4, 3 if order or fits else -14),
            textcoords="offset points", ha="right" if before else "left", color=ink_of, fontsize=12,
            annotation_clip=False,
        )  # fmt: skip
    for index, block in enumerate(sampled(crash.blocks)):
        if index == 0:
            axes.fill_between(block.t_s, block.completed_per_s, step="mid", color=ink, alpha=0.22, linewidth=0)
        axes.step(
            block.t_s, block.completed_per_s, where="mid", color=ink, linewidth=1.5, alpha=1 if index == 0 else 0.4
        )
    name_at = (left, top - 18) if narrow else (0.0, top + 14)
    sheet.text(*name_at, short(crash.who.name), color=ink, fontweight="bold", fontsize=13)
    peak = f"{words.rate(most)} answers/s"
    if narrow:
        sheet.text(left + width, top - 18, f"top of scale {peak}", color=INK["soft"], fontsize=12, ha="right")
    else:
        sheet.text(0, top + 32, "answers/s,", color=INK["soft"], fontsize=12)
        sheet.text(0, top + 47, f"scale {words.rate(most)}", color=INK["soft"], fontsize=12)


def _errors(
    sheet: Sheet, crash: Crash, box: tuple[float, float, float, float], span: tuple[float, float], worst: float
) -> None:
    left, top, width, height = box
    axes = sheet.axes(left, top, width, height)
    axes.set_xlim(*span)
    axes.set_ylim((worst or 1.0) * 1.05, 0)
    axes.set_yticks([])
    axes.spines["bottom"].set_visible(False)
    axes.spines["top"].set_visible(True)
    for index, block in enumerate(sampled(crash.blocks)):
        if not any(block.errors_per_s):
            continue
        axes.fill_between(
            block.t_s, block.errors_per_s, step="mid", color=INK["bad"], alpha=0.75 if index == 0 else 0.25, linewidth=0
        )
    axes.locator_params(axis="x", nbins=6)
    axes.set_xticks([t for t in axes.get_xticks() if span[0] <= t <= span[1]])
    axes.xaxis.set_major_formatter(lambda t, _: "0" if t == 0 else f"{t:+g}\u202fs")
    axes.annotate(
        "errors/s" if worst == 0 else f"errors/s, scale {words.rate(worst)}", (1, 0), xycoords="axes fraction",
        xytext=(-2, 4), textcoords="offset points", ha="right", color=INK["bad"], fontsize=12,
    )  # fmt: skip


def plot_traces(traces: Sequence[Traces], width: float) -> Sheet:
    """A small panel per scenario and variant, one line per block, from nought; the shape counts, not the height."""
    narrow = is_narrow(width)
    columns = 2 if narrow else 4
    gap, heading, tall = 18.0, 34.0, 64.0
    span = (width - gap * (columns - 1)) / columns
    groups: dict[str, list[Traces]] = {}
    for trace in traces:
        groups.setdefault(trace.scenario, []).append(trace)
    rows = {scenario: math.ceil(len(found) / columns) for scenario, found in groups.items()}
    sheet = Sheet(width, sum(30 + (heading + tall + 14) * count for count in rows.values()))
    top = 0.0
    for scenario, found in groups.items():
        sheet.text(0, top + 16, short(scenario, 40), fontweight="bold", fontsize=13)
        top += 24
        for index, trace in enumerate(found):
            row, column = divmod(index, columns)
            _trace(sheet, trace, (column * (span + gap), top + row * (heading + tall + 14) + heading, span, tall))
        top += rows[scenario] * (heading + tall + 14) + 6
    return sheet


def _trace(sheet: Sheet, traces: Traces, box: tuple[float, float, float, float]) -> None:
    left, top, width, height = box
    ink = INK[traces.who.ink]
    most = max((v for block in traces.blocks for v in block.per_s), default=1.0) or 1.0
    sheet.text(
        left, top - 18, short(traces.who.name), color=INK["soft" if traces.who.limit else traces.who.ink], fontsize=12.5
    )
    shapes: dict[str, int] = {}
    for block in traces.blocks:
        shape = "void" if block.voided else block.shape
        if shape:
            shapes[shape] = shapes.get(shape, 0) + 1
    summary = ", ".join(f"{count} {shape}" for shape, count in sorted(shapes.items()))
    sheet.text(left, top - 4, summary, color=INK["bad" if set(shapes) & {"void", "unstable"} else "soft"], fontsize=12)
    axes = sheet.axes(left, top, width, height)
    axes.set_ylim(0, most * 1.08)
    axes.set_xlim(0, max((t for block in traces.blocks for t in block.t_s), default=1.0))
    axes.set_xticks([])
    axes.set_yticks([])
    for block in shown(traces.blocks):
        axes.plot(
            block.t_s, block.per_s, color=INK["bad"] if block.voided else ink, linewidth=1.3, alpha=0.75,
            dashes=(3, 2) if block.voided else (None, None),
        )  # fmt: skip
