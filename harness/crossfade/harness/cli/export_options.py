"""The options of ``crossfade export`` and ``crossfade instructions``."""

from __future__ import annotations

import argparse
from pathlib import Path

EXPORTS = ("bmf", "pytest-benchmark", "openmetrics", "csv")


def export_options(command: argparse.ArgumentParser) -> None:
    """Which result, in which format, and where to."""
    command.add_argument("results", type=Path, help="results.json, or its folder")
    command.add_argument("--format", required=True, choices=EXPORTS, help="docs/results-format.md says what each holds")
    command.add_argument("-o", "--out", type=Path, metavar="FILE", help="file to write (default: print it)")


def instructions_options(command: argparse.ArgumentParser) -> None:
    """What is counted, and the result that keeps the counts."""
    command.add_argument("--core", action="append", choices=("python", "rust"), help="default: both")
    command.add_argument("--operation", action="append", metavar="NAME", help="default: every operation of policy-ops")
    command.add_argument("--into", type=Path, metavar="RESULTS", help="keep the counts with a result of this machine")
    command.add_argument("--json", action="store_true", help="print for machines")
