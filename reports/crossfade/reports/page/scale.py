"""What the kinds of work beyond throughput measure: tables of scalars, the drain of a burst, and growth over nodes."""

from __future__ import annotations

from dataclasses import dataclass

from crossfade.reports.page.base import Estimate, Series


@dataclass(frozen=True, slots=True)
class Cell:
    """One metric of one variant over the rounds; of a count, ``value`` is the median and ``most`` the worst round."""

    value: float
    unit: str
    low: float | None = None
    high: float | None = None
    most: float | None = None
    bad: bool = False
    """Something that must be nought and is not."""


@dataclass(frozen=True, slots=True)
class MeasureRow:
    """``cells`` in the order of the table's columns, None where the scenario has no such metric; ``blocks`` count."""

    scenario: str
    title: str
    who: Series
    cells: tuple[Cell | None, ...]
    blocks: int


@dataclass(frozen=True, slots=True)
class MeasureTable:
    """All scenarios of one kind; ``group`` is the key of the section it stands in."""

    group: str
    kind: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[MeasureRow, ...]


@dataclass(frozen=True, slots=True)
class Drain:
    """A burst as it is answered: (milliseconds since all were due, per cent answered)."""

    who: Series
    points: tuple[tuple[float, float], ...]
    samples: int


@dataclass(frozen=True, slots=True)
class Drains:
    """One scenario's bursts; ``load`` says how many requests over how many connections."""

    scenario: str
    title: str
    load: str
    curves: tuple[Drain, ...]


@dataclass(frozen=True, slots=True)
class NodePoint:
    """What a request costs with so many nodes, all of them together, and what they served."""

    nodes: int
    cpu_us: Estimate
    throughput: float


@dataclass(frozen=True, slots=True)
class NodeCurve:
    """``growth`` is the cost at the most nodes over that at one."""

    who: Series
    points: tuple[NodePoint, ...]

    @property
    def growth(self) -> float | None:
        """Cost at the most nodes over that at the fewest, None below two points."""
        if len(self.points) < 2 or not self.points[0].cpu_us.value:
            return None
        return self.points[-1].cpu_us.value / self.points[0].cpu_us.value


@dataclass(frozen=True, slots=True)
class Scaling:
    """CPU per request against the number of nodes; ``cores`` is how many processors there were for all of them."""

    scenario: str
    title: str
    cores: int
    curves: tuple[NodeCurve, ...]
