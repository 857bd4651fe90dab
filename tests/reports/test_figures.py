"""The drawings: every sample lies within its axes, scales are what the captions say, and one code draws both widths."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pytest
from tests.fabricated_standard import make_standard

from crossfade.reports import view
from crossfade.reports.figures import NARROW, WIDE, bursts, latency, memory, soak, time, work
from crossfade.reports.page import Ladder, Page
from crossfade.reports.svg import Sheet, context, inline

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def one(ladders: tuple[Ladder, ...], scenario: str) -> Ladder:
    return next(found for found in ladders if found.scenario == scenario)


PLOTS: dict[str, Callable[[Page, float], Sheet]] = {
    "work": lambda page, width: work.plot(page.work[0], width),
    "sweep": lambda page, width: latency.plot_sweep(page.sweeps[0], width),
    "tails": lambda page, width: latency.plot_tails(page.tails[0], width),
    "memory": lambda page, width: memory.plot(page.ladders[0], width),
    "children": lambda page, width: memory.plot(one(page.ladders, "memory-stdio"), width),
    "busy": lambda page, width: memory.plot(one(page.ladders, "memory-clients-busy"), width),
    "soak": lambda page, width: soak.plot(page.soaks[0], width),
    "crash": lambda page, width: time.plot_crash(page.crashes[:2], width),
    "change": lambda page, width: time.plot_crash(page.changes[:2], width),
    "nodes": lambda page, width: bursts.plot_nodes(page.scalings[0], width),
    "drain": lambda page, width: bursts.plot_drain(page.drains[0], width),
    "traces": lambda page, width: time.plot_traces(page.traces, width),
}


@pytest.fixture(scope="module")
def page() -> Page:
    return view(make_standard(rounds=3))


def drawn(name: str, page: Page, width: float) -> Sheet:
    with context():
        return PLOTS[name](page, width)


@pytest.mark.parametrize("width", [NARROW, WIDE])
@pytest.mark.parametrize("name", PLOTS)
def test_every_mark_lies_within_its_axes(name: str, width: float, page: Page) -> None:
    for axes in drawn(name, page, width).figure.axes:
        for line in axes.lines:
            if line.get_transform() != axes.transData:
                continue  # spans and drops, which stand in the margin on purpose
            x, y = (np.asarray(values, dtype=float) for values in line.get_data())
            assert _within(x, axes.get_xlim()), (name, line.get_label(), x)
            assert _within(y, axes.get_ylim()), (name, line.get_label(), y)


def _within(values: np.ndarray, ends: tuple[float, float]) -> bool:
    low, high = sorted(ends)
    room = 1e-9 * (high - low)
    finite = values[np.isfinite(values)]
    return bool(np.all((finite >= low - room) & (finite <= high + room)))


@pytest.mark.parametrize("width", [NARROW, WIDE])
def test_latency_is_logarithmic_both_ways_and_its_labels_do_not_touch(width: float, page: Page) -> None:
    (axes,) = drawn("sweep", page, width).figure.axes
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    assert _smallest_step(axes, "y") >= 14
    assert _smallest_step(axes, "x") >= 25
    (axes,) = drawn("tails", page, width).figure.axes
    assert axes.get_yscale() == "log"
    assert _smallest_step(axes, "y") >= 14


def _smallest_step(axes: Axes, side: str) -> float:
    """Least distance between neighbouring tick labels, in pixels."""
    which = axes.xaxis if side == "x" else axes.yaxis
    at = [axes.transData.transform((t, t))[0 if side == "x" else 1] for t in which.get_majorticklocs()]
    return min((b - a for a, b in itertools.pairwise(sorted(at))), default=1000.0)


def test_axes_of_throughput_and_memory_start_at_nought(page: Page) -> None:
    for name in ("work", "traces"):
        for axes in drawn(name, page, WIDE).figure.axes:
            assert 0 in (*axes.get_xlim(), *axes.get_ylim())


def test_a_drawing_never_changes_the_words_it_is_given(page: Page) -> None:
    """Rounding of coordinates must not reach into text, nor may markup in it come alive."""
    del page
    with context():
        sheet = Sheet(100, 100)
        words = "1.23456 id=\"x\" <b> $a_1$ font: 12px 'x' #00fe10"
        sheet.text(10, 10, words)
        svg = inline(sheet, name="f", label="l", css="fig")
    assert words.replace("<", "&lt;").replace(">", "&gt;") in svg
