"""The figures: each takes plain data and gives the drawing twice, for a wide screen and for a phone.

The rule: both drawings come from one function that is told its width; CSS shows exactly one of them, so no script
decides.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from crossfade.reports.svg import Sheet, context, inline

WIDE = 880.0
NARROW = 344.0


@dataclass(frozen=True, slots=True)
class Figure:
    """A drawn figure: ``svg`` holds both drawings."""

    name: str
    svg: str


def draw(name: str, label: str, plot: Callable[[float], Sheet]) -> Figure:
    """``plot(width)`` at both widths; ``label`` is what a screen reader says in place of the picture."""
    with context():
        drawings = [
            inline(plot(width), name=f"{name}-{css}", label=label, css=f"fig {css}")
            for width, css in ((WIDE, "wide"), (NARROW, "narrow"))
        ]
    return Figure(name=name, svg="\n".join(drawings))


def is_narrow(width: float) -> bool:
    return width < WIDE
