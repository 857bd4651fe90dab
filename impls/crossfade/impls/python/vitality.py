"""Owns what is known of an instance's health, from its calls, its probes, and what its transport finds out.

Rule: two different things make an instance unhealthy. A *fact* (it cannot be reached, its child is gone, its circuit is
open) holds from now until something good is heard. *Verdicts* on calls and probes turn the state only after several
equal ones in a row (``spec.health``), so that one failed call is no event.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from crossfade.impls.cores import HealthConfig

if TYPE_CHECKING:
    from crossfade.impls.config import HealthSpec
    from crossfade.impls.cores import Cores


class Vitality:
    """The health of one instance; it starts well."""

    __slots__ = ("_cores", "_down", "_spec", "_verdicts")

    def __init__(self, spec: HealthSpec, cores: Cores) -> None:
        self._spec = spec
        self._cores = cores
        self._verdicts = cores.health(HealthConfig.from_spec(spec))
        self._down = False

    @property
    def well(self) -> bool:
        """Whether it may be called healthy."""
        return not self._down and self._verdicts.healthy

    def down(self) -> None:
        """A fact: it cannot be used right now."""
        self._down = True
        self._verdicts.record(False)

    def heard(self, ok: bool) -> None:
        """A verdict. A good one ends what was a fact until now."""
        self._verdicts.record(ok)
        if ok:
            self._down = False

    def renewed(self) -> None:
        """It was started anew, or somebody asked on purpose and it answered: what was before does not count."""
        self._verdicts = self._cores.health(HealthConfig.from_spec(self._spec))
        self._down = False
