"""What the figures of memory say, and how to read them: ladders with what stands beside them, and soaks."""

from __future__ import annotations

from crossfade.reports.page import Estimate, Fit, Ladder, Soak, SoakCurve
from crossfade.reports.words import digits, joined, plural

READ_LADDER = (
    "Each mark is one fresh process at that many connections, all rounds; the line is the least-squares fit. On "
    "the other panel the bar is the 95\u202f% interval of the slope and the grey field with its end line is what was "
    "asked for."
)
READ_SOAK = (
    "Each mark is one reading of a process that serves all the time, less what it had when its warm-up was over; "
    "hollow marks are the warm-up and count for nothing. The line is the growth over time. Its interval honours that "
    "readings hang together; growth that clears the threshold of its scenario is a leak, and fails the block."
)
_COURSE = {
    "grows": "leaks",
    "settles": "still settles",
    "undecided": "may be steady or not",
    "steady": "is steady",
    "too short": "was read too seldom",
}
_BESIDE = {
    "kernel": "The kernel holds more for each, in a cgroup of the process\u2019s own",
    "machine": "The kernel of the whole machine holds more for each, both ends and whatever else went on",
    "child": "A child itself holds, which is its own affair",
}


def ladder(found: Ladder) -> str:
    """The slopes with their intervals, and what stands beside them."""
    parts = [f"{fit.who.name} {_slope(fit)}" for fit in found.fits if fit.state == "idle"]
    busy = [f"{fit.who.name} {_slope(fit)}" for fit in found.fits if fit.state != "idle"]
    lines = []
    if parts:
        lines.append(f"A further idle {found.per} costs {joined(parts)}.")
    if busy:
        what = "With a call in flight it costs" if parts else f"A further {found.per} with a call in flight costs"
        lines.append(f"{what} {joined(busy)}.")
    for kind, words in _BESIDE.items():
        told = [f"{b.who.name} {_kib(b.kib)}" for b in found.beside if b.what == kind]
        if told:
            lines.append(f"{words}: {joined(told)}.")
    return " ".join(lines)


def _slope(fit: Fit) -> str:
    return _kib(fit.slope)


def _kib(found: Estimate) -> str:
    ends = f" ({digits(found.low)} to {digits(found.high)})" if found.low is not None and found.high is not None else ""
    return f"{digits(found.value)} KiB{ends}"


def soak(found: Soak) -> str:
    """Who leaks and who does not, with the growth per 1,000 calls of every block."""
    by_name: dict[str, list[SoakCurve]] = {}
    for curve in found.curves:
        by_name.setdefault(curve.who.name, []).append(curve)
    lines = []
    for name, curves in by_name.items():
        courses = list(dict.fromkeys(curve.course for curve in curves))
        worst = next(c for c in _COURSE if c in courses)
        grown = [_kib(c.per_1000_calls) for c in curves if c.per_1000_calls is not None]
        calls = max(c.calls for c in curves)
        told = f": {joined(grown)} per 1,000 calls" if grown else ""
        lines.append(f"{name} {_COURSE[worst]} over {plural(len(curves), 'block')} of up to {calls:,} calls{told}.")
    return " ".join(lines)
