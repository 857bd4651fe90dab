"""By how much a planted gateway differed from the honest one, over the runs of a power test."""

from __future__ import annotations

import math
from collections.abc import Sequence

from crossfade.harness.stats.pairs import Interval, interval
from crossfade.harness.trust import Plant, Trial


def effects(trials: Sequence[Trial], plant: Plant) -> dict[str, Interval]:
    """By headline metric: the mean log-ratio of the runs, with its interval over them."""
    logs: dict[str, list[float]] = {}
    for trial in trials:
        if (trial.candidate, trial.scenario) == (plant.name, plant.scenario):
            logs.setdefault(trial.metric, []).append(math.log(trial.ratio))
    return {metric: interval(values) for metric, values in logs.items()}
