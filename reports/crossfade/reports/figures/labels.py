"""Placing labels beside what they name, so that no legend has to be decoded."""

from __future__ import annotations

from collections.abc import Sequence

from crossfade.reports.page import Series


def spread(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Positions near ``wanted`` that keep ``gap`` apart within ``low..high``, in the order of ``wanted``.

    Pushes upwards in one pass and back down from the top in a second, which is enough for the handful of lines a
    figure has.
    """
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    placed = [0.0] * len(wanted)
    floor = low
    for i in order:
        placed[i] = max(wanted[i], floor)
        floor = placed[i] + gap
    ceiling = high
    for i in reversed(order):
        placed[i] = min(placed[i], ceiling)
        ceiling = placed[i] - gap
    return placed


def short(name: str, room: int = 11) -> str:
    """A name that fits beside a drawing; the tables and captions have it in full."""
    return name if len(name) <= room else name[: room - 1] + "\u2026"


def dashes(who: Series) -> tuple[float | None, float | None]:
    """Lines of variants are solid; nginx is dashed and the ceiling dotted in every figure."""
    if not who.limit:
        return (None, None)
    return (4, 2.5) if who.name == "nginx" else (1.2, 2.2)
