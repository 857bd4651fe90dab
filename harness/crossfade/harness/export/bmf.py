"""Bencher Metric Format: one benchmark per scenario and variant, one measure per metric, with its 95 % interval.

The format is ``{benchmark: {measure: {value, lower_value, upper_value}}}`` (https://bencher.dev/bmf.json); names of
benchmarks may have 1,024 characters and those of measures 64, in which metric names fit with their hyphens.
"""

from __future__ import annotations

import json

from crossfade.harness.samples import Results
from crossfade.harness.stats import analyse


def bmf(results: Results) -> str:
    """The document. Blocks that do not count have no part in it, and a metric of one round has no bounds."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    for summary in analyse(results).summaries:
        measure = {"value": summary.mean}
        if summary.low is not None and summary.high is not None:
            measure |= {"lower_value": summary.low, "upper_value": summary.high}
        benchmark = found.setdefault(f"{summary.scenario}/{summary.variant}", {})
        benchmark[summary.metric.replace("_", "-")] = measure
    return json.dumps(found, indent=2, allow_nan=False) + "\n"
