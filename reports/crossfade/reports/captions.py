"""What each figure says, and how to read it. The finding comes first, computed from the same data as the drawing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from crossfade.reports.page import Estimate, RateCurve, Sweep, Tails, Traces, Work
from crossfade.reports.words import digits, joined, milliseconds, plural, rate, times

READ_WORK = (
    "Bars are means over blocks, dots the single blocks. Dashed and dotted lines are limits measured in the same "
    "rounds: nginx as a plain reverse proxy, and the ceiling, which is the load with no manager in between; its CPU "
    "is that of the server it reaches. Throughput is a closed loop at saturation: longer is better left, shorter is "
    "better right."
)
READ_SWEEP = (
    "Strong lines are p99, thin ones p50, both axes logarithmic. Requests are sent at the offered rate whether or "
    "not earlier ones were answered, and latency runs from the intended send time. A hollow mark is a rate that "
    "some round did not hold; the dotted drop is the knee."
)
READ_TAILS = (
    "Lower is better. The further right, the rarer the slow request: each nine has equal room. A line that ends "
    "early, in a ring, ends where the samples are too few for the next percentile. Latency runs from when a request "
    "was due; the numbers say beside it what its service took once it was sent, and how late the generator sent it."
)
READ_TRACES = (
    "Requests per second inside every block, each panel from nought to its own top: a level line can be summed up "
    "in one number, a ramp is a warm-up, and anything else is not to be trusted. Void blocks are dashed and "
    "red; of the others at most a dozen are drawn, evenly over the rounds."
)


def work(found: Work) -> str:
    """Who leads, by how much, and how far from nginx."""
    bars = sorted((b for b in found.throughput if not b.who.limit), key=lambda b: -b.value)
    if not bars:
        return f"On {found.scenario} no block gave a throughput.{_absent(found.absent)}"
    served = [f"{b.who.name} {rate(b.value)}" for b in bars[1:]]
    told = f"On {found.scenario} {bars[0].who.name} serves {rate(bars[0].value)} requests/s"
    told += f", {joined(served)}" if served else ""
    ratios: dict[str, list[str]] = {}
    for who, other, ratio in found.ratios:
        ratios.setdefault(who, []).append(_factor(ratio, other))
    if ratios:
        told += f". Round by round, {'; '.join(f'{who} serves {joined(said)}' for who, said in ratios.items())}"
    cheap = sorted((b for b in found.cpu_us if not b.who.limit), key=lambda b: b.value)
    if cheap:
        costs = [f"{b.who.name} {digits(b.value)} \u00b5s" for b in cheap]
        told += f". A request costs {joined(costs)} of CPU"
    return f"{told}.{_absent(found.absent)}"


def _absent(names: tuple[str, ...]) -> str:
    return f" No block of {joined(list(names))} counts." if names else ""


def _factor(ratio: Estimate, other: str) -> str:
    ends = f" ({times(ratio.low)} to {times(ratio.high)})" if ratio.low and ratio.high else ""
    return f"{times(ratio.value)} times {other}{ends}"


def sweep(found: Sweep) -> str:
    """The knees, highest first, and who has none."""
    told = sorted((c for c in found.curves if c.knee is not None), key=lambda c: -(c.knee or 0))
    none = [c.who.name for c in found.curves if c.knee is None]
    parts = [_knee(c) for c in told]
    lines = []
    if parts:
        lines.append(f"With p99 within {found.objective_ms:g}\u202fms, {joined(parts)}.")
    if none:
        lines.append(f"{joined(none)} held no offered rate.")
    return " ".join(lines) + _absent(found.absent)


def _knee(curve: RateCurve) -> str:
    least = "at least " if curve.beyond else ""
    return f"{curve.who.name} holds {least}{rate(curve.knee or 0)} requests/s"


def tails(found: Tails) -> str:
    """p99 (or the highest percentile there is) of each, and where the samples run out."""
    groups: dict[float, list[str]] = {}
    alone = all(tail.who.limit for tail in found.curves)
    for tail in found.curves:
        values = dict(tail.points)
        p = next((p for p in (99.0, 90.0, 50.0) if p in values), None)
        if p is not None and (not tail.who.limit or alone):
            groups.setdefault(p, []).append(f"{milliseconds(values[p])} by {tail.who.name}")
    parts = [f"{p:g} of 100 requests are answered within {joined(said)}" for p, said in groups.items()]
    few = [f"{t.who.name} (p{t.too_few[0]:g})" for t in found.curves if t.too_few]
    if not parts:
        return f"At {found.load} the samples are too few for any percentile."
    return f"At {found.load}, {'; '.join(parts)}." + (f" Too few samples: {joined(few)}." if few else "")


def traces(found: Iterable[Traces]) -> str:
    """How many blocks are flat, and what the others are."""
    shapes = Counter("void" if b.voided else b.shape for t in found for b in t.blocks)
    total = sum(shapes.values())
    flat = shapes.pop("flat", 0)
    rest = [f"{count} {shape}" for shape, count in sorted(shapes.items(), key=lambda item: (-item[1], item[0]))]
    return f"{flat} of {plural(total, 'block')} are level from the first interval to the last" + (
        f"; {joined(rest)}." if rest else "."
    )
