"""Plates of what happens over time and over nodes: ways through faults and updates, bursts, scaling."""

from __future__ import annotations

from collections.abc import Sequence

from crossfade.reports import captions_events as captions
from crossfade.reports.figures import bursts, time
from crossfade.reports.page import Crash, Drains, Scaling
from crossfade.reports.plate import Plate, Table, count, interval, make, ms
from crossfade.reports.words import milliseconds, rate


def ways(found: Sequence[Crash], kind: str) -> tuple[Plate, ...]:
    """A plate per scenario, with a panel per variant."""
    scenarios: dict[str, list[Crash]] = {}
    for one in found:
        scenarios.setdefault(one.scenario, []).append(one)
    return tuple(_way(group, f"{kind}-{i}") for i, group in enumerate(scenarios.values()))


def _way(found: Sequence[Crash], name: str) -> Plate:
    columns = {
        "failed": [count(one.failed) for one in found],
        "hung": [count(one.hung) for one in found],
        "first success after": [ms(one.first_success_ms) for one in found],
        "90\u202f% of the rate after": [ms(one.restored_ms) for one in found],
        "update took": [ms(one.update_ms) for one in found],
        "blocks": [str(len(one.blocks)) for one in found],
    }
    rows = tuple(zip((one.who.name for one in found), *columns.values(), strict=True))
    update = any(one.update_ms is not None for one in found)
    kept = [i for i, head in enumerate(columns, 1) if head not in _ELSEWHERE[update]]
    return make(
        name,
        found[0].title or found[0].scenario,
        captions.way(found),
        captions.READ_WAY,
        Table(("", *(list(columns)[i - 1] for i in kept)), tuple((row[0], *(row[i] for i in kept)) for row in rows)),
        plot=lambda width: time.plot_crash(found, width),
    )


_ELSEWHERE = {
    True: ("first success after", "90\u202f% of the rate after"),
    False: ("update took",),
}
"""Columns that mean nothing of an update, and of a fault."""


def drain(found: Drains, index: int) -> Plate:
    """How a burst is worked off."""
    rows = tuple(
        (
            curve.who.name,
            *(milliseconds(next(at for at, share in curve.points if share >= part)) for part in (50, 90, 100)),
            f"{curve.samples:,}",
        )
        for curve in found.curves
    )
    return make(
        f"drain-{index}",
        found.title,
        captions.drain(found),
        captions.READ_DRAIN,
        Table(("", "half answered after", "90\u202f% after", "all after", "answers, all rounds"), rows),
        plot=lambda width: bursts.plot_drain(found, width),
    )


def scaling(found: Scaling, index: int) -> Plate:
    """What a request costs with more nodes."""
    rows = tuple(
        (curve.who.name, str(point.nodes), interval(point.cpu_us), rate(point.throughput))
        for curve in found.curves
        for point in curve.points
    )
    return make(
        f"nodes-{index}",
        found.title,
        captions.scaling(found),
        captions.READ_NODES,
        Table(("", "nodes", "CPU \u00b5s per request", "requests/s"), rows),
        plot=lambda width: bursts.plot_nodes(found, width),
    )
