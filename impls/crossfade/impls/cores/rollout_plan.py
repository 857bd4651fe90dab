"""Owns what an update is told: how many instances, in which manner, how patient; and the table of its phases.

The course itself, with its laws, is in ``rollout``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self

from crossfade.impls.states import Strategy

if TYPE_CHECKING:
    from crossfade.impls.config import DeploySpec

IDLE: Final = "idle"
EMPTYING: Final = "emptying"
STARTING: Final = "starting"
JUDGING: Final = "judging"
RETIRING: Final = "retiring"
REVIVING: Final = "reviving"
DONE: Final = "done"
ROLLED_BACK: Final = "rolled_back"

NEXT: Final = {
    (IDLE, "hold"): EMPTYING,
    (IDLE, "start"): STARTING,
    (EMPTYING, "start"): STARTING,
    (STARTING, "judge"): JUDGING,
    (STARTING, "retire"): RETIRING,
    (STARTING, "finish"): DONE,
    (JUDGING, "retire"): RETIRING,
    (RETIRING, "finish"): DONE,
    **{(phase, "revive"): REVIVING for phase in (EMPTYING, STARTING, RETIRING)},
    **{(phase, "give_up"): ROLLED_BACK for phase in (EMPTYING, STARTING, JUDGING, REVIVING)},
}

_MS: Final = 1_000_000

Actions = list[list[Any]]
"""``["start", k]``, ``["start_old", k]``, ``["share", percent]``, ``["shadow", on]``, ``["hold", on]``,
``["retire_old", k]``, ``["retire_new"]``, ``["done"]``, ``["rolled_back", reason]``, to be performed in order."""


@dataclass(frozen=True, slots=True)
class RolloutConfig:
    """``old`` instances run, ``new`` are wanted (at least 1). ``old`` 0 is a first deployment: nothing is judged."""

    strategy: str = Strategy.ROLLING.value
    old: int = 1
    new: int = 1
    max_surge: int = 1
    steps_percent: tuple[int, ...] = (5, 25, 50)
    min_samples: int = 20
    step_timeout_ns: int = 60_000 * _MS
    max_failure_per_mille: int = 50
    gate_timeout_ns: int = 30_000 * _MS
    drain_ns: int = 10_000 * _MS

    @classmethod
    def from_spec(cls, spec: DeploySpec, strategy: Strategy, old: int, new: int) -> Self:
        """The same in nanoseconds, for an update from ``old`` to ``new`` instances."""
        return cls(
            strategy=strategy.value,
            old=old,
            new=new,
            max_surge=spec.max_surge,
            steps_percent=spec.steps_percent,
            min_samples=spec.min_samples,
            step_timeout_ns=spec.step_timeout_ms * _MS,
            max_failure_per_mille=spec.max_failure_per_mille,
            gate_timeout_ns=spec.gate_timeout_ms * _MS,
            drain_ns=spec.drain_ms * _MS,
        )
