"""What the figures of faults, updates, bursts and nodes say, and how to read them."""

from __future__ import annotations

from collections.abc import Iterable

from crossfade.reports.page import Crash, Drains, Scaling
from crossfade.reports.words import digits, joined, milliseconds, percent, plural

READ_WAY = (
    "All panels share one clock and one scale, and nought is when it begins. Above the line are answers per "
    "second, below it errors per second. The first block is filled, others (at most eleven, evenly over the rounds) "
    "are drawn over it."
)
READ_DRAIN = (
    "Every request is due at nought; the line says how many of them are answered after so long, all rounds merged, "
    "and its mark is the last answer of all."
)
READ_NODES = (
    "From nought: a flat line means that a further node makes no request dearer. Bars are 95\u202f% intervals. "
    "Costs are of all manager processes together."
)
FLAT = 0.1
"""Growth of the cost per request that is still called flat."""


def way(found: Iterable[Crash]) -> str:
    """What each lost, and how long it took to serve again or to change over."""
    parts = []
    for one in found:
        told = f"{one.who.name} fails {digits(one.failed)} requests" if one.failed is not None else one.who.name
        if one.hung is not None:
            told += ", leaves none hanging" if one.hung == 0 else f", leaves {digits(one.hung)} hanging"
        if one.first_success_ms is not None:
            told += f", answers again {milliseconds(one.first_success_ms)} after the server is back"
        if one.restored_ms is not None:
            told += f" and is at 90\u202f% of its rate after {milliseconds(one.restored_ms)}"
        if one.update_ms is not None:
            told += f", is through with the update after {milliseconds(one.update_ms)}"
        parts.append(told)
    return f"{'. '.join(parts)}. These are medians over rounds." if parts else ""


def drain(found: Drains) -> str:
    """Who is done first."""
    done = sorted((c for c in found.curves if not c.who.limit), key=lambda c: c.points[-1][0]) or list(found.curves)
    told = [f"{c.who.name} in {milliseconds(c.points[-1][0])}" for c in done]
    return f"{found.load}: the last of all rounds is answered by {joined(told)}."


def scaling(found: Scaling) -> str:
    """How the cost per request grows, and what this machine cannot show."""
    lines = []
    for curve in found.curves:
        if curve.growth is None:
            continue
        most = plural(curve.points[-1].nodes, "node")
        change = curve.growth - 1
        if abs(change) <= FLAT:
            lines.append(
                f"{curve.who.name} spends {percent(abs(change))} {_side(change)} on a request with {most}: flat"
            )
        else:
            lines.append(f"{curve.who.name} spends {percent(abs(change))} {_side(change)} on a request with {most}")
    told = f"{'; '.join(lines)}. " if lines else ""
    return (
        f"{told}This machine has {plural(found.cores, 'core')} for all nodes, fleet and load. Where nodes share cores, "
        "throughput cannot grow: what can be shown here is that a request does not get dearer."
    )


def _side(change: float) -> str:
    return "more" if change > 0 else "less"
