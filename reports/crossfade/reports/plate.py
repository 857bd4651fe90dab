"""A plate is a figure with its caption and its numbers: drawing, finding, how to read it, and the table behind it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from crossfade.reports.figures import draw
from crossfade.reports.page import Estimate
from crossfade.reports.svg import Sheet
from crossfade.reports.words import digits, milliseconds, times

NONE = "\u2013"


@dataclass(frozen=True, slots=True)
class Table:
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Plate:
    """``svg`` is trusted markup, drawn here; every other field is text that the template escapes."""

    name: str
    title: str
    svg: str
    says: str
    read: str
    table: Table


def make(kind: str, title: str, says: str, read: str, table: Table, *, plot: Callable[[float], Sheet]) -> Plate:
    name = re.sub(r"[^a-z0-9-]+", "-", kind)
    return Plate(name, title, draw(name, f"{title}. {says}", plot).svg, says, read, table)


def interval(found: Estimate) -> str:
    """21.0 (19.9 to 22.1)"""
    if found.low is None or found.high is None:
        return digits(found.value)
    return f"{digits(found.value)} ({digits(found.low)} to {digits(found.high)})"


def gain(found: Estimate) -> str:
    """2.2 (2.1 to 2.3), as factors"""
    if found.low is None or found.high is None:
        return times(found.value)
    return f"{times(found.value)} ({times(found.low)} to {times(found.high)})"


def ms(value: float | None) -> str:
    return NONE if value is None else milliseconds(value)


def count(value: float | None) -> str:
    return NONE if value is None else digits(value)
