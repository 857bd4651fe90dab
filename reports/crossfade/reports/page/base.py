"""What every block of the page is made of: values with intervals, who is drawn, and words above the numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Word = Literal["better", "worse", "equal", "inconclusive"]
"""``equal``: settled, and no difference that matters; ``inconclusive``: more rounds would tell."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with its 95 % interval; ``low`` and ``high`` are None where one round leaves no interval."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Series:
    """Who is drawn: a variant or a limit. ``ink`` names its CSS variable, ``marker`` its shape, both fixed per name."""

    name: str
    ink: str
    marker: str
    limit: bool = False


@dataclass(frozen=True, slots=True)
class Banner:
    """Something that must be known before any number is read."""

    title: str
    text: str


@dataclass(frozen=True, slots=True)
class KeyFigure:
    """One large number of the opening strip."""

    value: str
    text: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Goal:
    """A figure the project set itself: what was asked, what was measured (None: not measured), and whether it is
    met."""

    text: str
    asked: str
    measured: str | None
    met: bool | None
