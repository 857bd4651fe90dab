"""What is known of the ruler itself on a machine: how often it raises false alarms, and how often it finds a flaw.

Stored beside results and inside them. The rule: every comparison that a share was counted from is stored with it.
"""

from __future__ import annotations

from typing import Literal

import msgspec


class _Record(msgspec.Struct, frozen=True, kw_only=True):
    pass


class Share(_Record, frozen=True):
    """``hits`` out of ``of``, with the exact 95 % interval of the share (Clopper and Pearson)."""

    hits: int
    of: int
    low: float
    high: float

    @property
    def share(self) -> float:
        """hits / of; 0 of none."""
        return self.hits / self.of if self.of else 0.0


class Trial(_Record, frozen=True):
    """One comparison whose truth was known, judged as a run judges it.

    ``repetition`` counts runs from 1; ``verdict`` is of this comparison alone (the 95 % interval clears the threshold),
    ``verdict_holm`` after Holm's correction over all comparisons of the repetition. ``log_ratios`` are the rounds'.
    """

    repetition: int
    scenario: str
    metric: str
    baseline: str
    candidate: str
    rounds: int
    threshold: float
    ratio: float
    low: float | None
    high: float | None
    p: float
    p_holm: float
    verdict: Literal["better", "worse", "inconclusive"]
    verdict_holm: Literal["better", "worse", "inconclusive"]
    log_ratios: tuple[float, ...] = ()


class SelfTest(_Record, frozen=True):
    """The quick check of a first run: one variant against itself on one scenario.

    ``log_ratios`` maps a metric to the paired log-ratios of the rounds; ``false_alarms`` to the share of re-drawn
    experiments of ``rounds_per_verdict`` rounds (signs flipped at random) that gave a verdict.
    """

    variant: str
    scenario: str
    rounds: int
    rounds_per_verdict: int
    log_ratios: dict[str, tuple[float, ...]]
    false_alarms: dict[str, float]
    threshold: float
    created: str


class FalseAlarms(_Record, frozen=True):
    """A/A comparisons over many scenarios: each variant against its twin, so that every verdict is a false one.

    ``alone`` counts them before, ``corrected`` after Holm's correction within a repetition. ``machine`` is
    ``environment.fingerprint``; ``lost`` names comparisons that could not be made, with the reason.
    """

    created: str
    machine: str
    profile: str
    seed: int
    variants: tuple[str, ...]
    scenarios: tuple[str, ...]
    trials: tuple[Trial, ...]
    alone: Share
    corrected: Share
    lost: tuple[str, ...] = ()


class Plant(_Record, frozen=True):
    """One planted difference: ``found`` counts the runs that convicted it (``worse`` after Holm)."""

    name: str
    what: str
    scenario: str
    found: Share


class Power(_Record, frozen=True):
    """Runs of a profile with planted flaws. A plant whose name is ``twin`` is honest, and finding it a false alarm."""

    created: str
    machine: str
    profile: str
    seed: int
    runs: int
    trials: tuple[Trial, ...]
    plants: tuple[Plant, ...]
    lost: tuple[str, ...] = ()


class Ruler(_Record, frozen=True):
    """Both, as far as they were measured."""

    alarms: FalseAlarms | None = None
    power: Power | None = None


class Predicted(_Record, frozen=True):
    """One measured point of several nodes beside the simulator's answer: ``error`` is predicted / measured p99 - 1.

    Measured percentiles are of the merged histograms of the calm half of each round's phases, ``all_p99_ms`` is of all
    ``phases``; ``low`` and ``high`` bound p99 over the rounds, with 95 %.
    ``calibration`` marks the point that the model was fitted to, which proves nothing.
    """

    scenario: str
    variant: str
    nodes: int
    rate_per_s: float
    calibration: bool
    rounds: int
    samples: int
    measured_p50_ms: float
    measured_p99_ms: float
    low_p99_ms: float | None
    high_p99_ms: float | None
    predicted_p50_ms: float | None
    predicted_p99_ms: float | None
    error: float | None
    phases: int | None = None
    all_p99_ms: float | None = None


class Validation(_Record, frozen=True):
    """The simulator against measured runs of several nodes; ``target`` is the error of p99 that it is to stay below.

    ``events_per_s`` is how fast it was on this machine, on one core.
    """

    created: str
    results: str
    target: float
    rows: tuple[Predicted, ...]
    events_per_s: float = 0.0
