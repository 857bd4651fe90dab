"""Owns whether a second copy of a safe request is sent while the first is still out, and how long to wait before it.

The theory. A hedge cuts the tail: whoever waits longer than most others sends the same request to another instance and
takes the first answer (Dean and Barroso, "The Tail at Scale", 2013). Sent after the 95th percentile, it adds at most a
twentieth to the load; and a budget that requests fill keeps it there when everything is slow and all would hedge.

The laws:

1. There are never more hedges than ``per_mille`` per thousand requests: the budget starts empty.
2. Quiet times save up ``BURST`` hedges and no more.
3. ``delay_ns`` 0 means the observed 95th percentile (``sketch.py``); as long as that is not known, nothing is hedged.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

from crossfade.impls.cores.sketch import LatencySketch

if TYPE_CHECKING:
    from crossfade.impls.config import HedgeSpec

BURST: Final = 10

_MS: Final = 1_000_000
_TOKEN: Final = 1000  # the budget counts thousandths
_FULL: Final = BURST * _TOKEN


@dataclass(frozen=True, slots=True)
class HedgeConfig:
    """``delay_ns`` 0: the observed p95. ``per_mille``: hedges per thousand requests."""

    delay_ns: int = 0
    per_mille: int = 50

    @classmethod
    def from_spec(cls, spec: HedgeSpec) -> Self:
        """The same in nanoseconds. Which requests may be hedged at all is the caller's to know."""
        return cls(delay_ns=spec.delay_ms * _MS, per_mille=spec.per_mille)


class Hedge:
    """The hedges of one server."""

    __slots__ = ("_budget", "_delay_ns", "_fill", "_sketch")

    def __init__(self, config: HedgeConfig) -> None:
        self._delay_ns = config.delay_ns
        self._fill = config.per_mille
        self._budget = 0
        self._sketch = LatencySketch()

    def request(self) -> None:
        """A request that could be hedged came in: the budget grows."""
        budget = self._budget + self._fill
        self._budget = budget if budget < _FULL else _FULL

    def delay_ns(self) -> int:
        """How long to wait for the first answer, or -1: not known yet, so no hedge."""
        return self._delay_ns or self._sketch.p95_ns

    def try_start(self) -> bool:
        """Whether the second copy may be sent now; True takes it from the budget."""
        if self._budget < _TOKEN:
            return False
        self._budget -= _TOKEN
        return True

    def record(self, latency_ns: int) -> None:
        """How long one attempt took to its answer. Attempts that were cancelled say nothing."""
        if not self._delay_ns:
            self._sketch.record(latency_ns)
