"""Owns the work of the manager as a whole: how many requests are under way, and how long they have to wait.

Rule: it is there only if the configuration sheds load, so that without it nobody counts. A request is counted from its
admission to its end, whatever becomes of it in between.
"""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING

from crossfade.impls.cores import ShedConfig

if TYPE_CHECKING:
    from crossfade.impls.config import ShedSpec
    from crossfade.impls.cores import Cores, ShedderCore


class Load:
    """``with load:`` is one request."""

    __slots__ = ("_shedder", "in_flight")

    def __init__(self, shedder: ShedderCore) -> None:
        self._shedder = shedder
        self.in_flight = 0

    def __enter__(self) -> None:
        self.in_flight += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.in_flight -= 1

    def admits(self, now_ns: int) -> bool:
        """Whether one more is welcome."""
        return self._shedder.admit(now_ns, self.in_flight)

    def waited(self, now_ns: int, delay_ns: int) -> None:
        """A call got its place (or gave up) after ``delay_ns`` in a queue; 0 if it found one free."""
        self._shedder.waited(now_ns, delay_ns)


def load_of(spec: ShedSpec, cores: Cores) -> Load | None:
    """The manager's load, or None if nothing is ever shed."""
    return Load(cores.shedder(ShedConfig.from_spec(spec))) if spec.max_in_flight or spec.target_ms else None
