"""A run in the formats of other tools: Bencher, pytest-benchmark, OpenMetrics, CSV.

The rule: an exporter is a pure function of stored results. What a format cannot say is left out and named in
``docs/results-format.md``; nothing is bent to fit.
"""

from __future__ import annotations

from collections.abc import Callable

from crossfade.harness.export.bmf import bmf
from crossfade.harness.export.openmetrics import openmetrics
from crossfade.harness.export.pytest_benchmark import pytest_benchmark
from crossfade.harness.export.table import table
from crossfade.harness.samples import Results

FORMATS: dict[str, Callable[[Results], str]] = {
    "bmf": bmf,
    "pytest-benchmark": pytest_benchmark,
    "openmetrics": openmetrics,
    "csv": table,
}

__all__ = ["FORMATS"]
