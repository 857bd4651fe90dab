"""Owns what verdicts in a row make of an instance: healthy or not, with hysteresis.

The laws:

1. It starts healthy. ``unhealthy_after`` bad verdicts in a row turn it, ``healthy_after`` good ones turn it back.
2. A verdict that agrees with the state breaks the streak against it: what flickers stays what it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from crossfade.impls.config import HealthSpec


@dataclass(frozen=True, slots=True)
class HealthConfig:
    """How many equal verdicts in a row turn the state; 0 counts as 1."""

    unhealthy_after: int = 3
    healthy_after: int = 2

    @classmethod
    def from_spec(cls, spec: HealthSpec) -> Self:
        """The thresholds alone; the interval of the probes is the shell's."""
        return cls(spec.unhealthy_after, spec.healthy_after)


class Health:
    """The health of one instance."""

    __slots__ = ("_against", "_healthy_after", "_unhealthy_after", "healthy")

    def __init__(self, config: HealthConfig) -> None:
        self._unhealthy_after = config.unhealthy_after
        self._healthy_after = config.healthy_after
        self._against = 0
        self.healthy = True

    def record(self, ok: bool) -> bool:
        """One verdict, of a probe or of a call. True if it turned the state."""
        if ok == self.healthy:
            self._against = 0
            return False
        self._against += 1
        if self._against < (self._healthy_after if ok else self._unhealthy_after):
            return False
        self._against = 0
        self.healthy = ok
        return True
