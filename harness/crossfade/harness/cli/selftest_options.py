"""The options of ``crossfade selftest``."""

from __future__ import annotations

import argparse
from pathlib import Path

from crossfade.harness.cli.values import count, repetitions, seed


def selftest_options(command: argparse.ArgumentParser) -> None:
    """What is measured, how often, and where it is kept."""
    command.description = (
        "Each variant against itself over the quick scenarios, and how many verdicts that gives: all of them are "
        "false. Exit code 1 if significantly more than 5 % are. With --power the standard profile looks for planted "
        "flaws instead."
    )
    command.add_argument(
        "selectors", nargs="*", metavar="SCENARIO|TAG|FILE", help="default: what a whole quick run measures"
    )
    command.add_argument(
        "--repeat",
        type=repetitions,
        metavar="N",
        help="repetitions of each variant (default: as many as make 40 comparisons)",
    )
    command.add_argument("--power", action="store_true", help="look for planted flaws in runs of the standard profile")
    command.add_argument("--runs", type=repetitions, default=10, help="of --power (default: %(default)s)")
    command.add_argument("--quick-check", action="store_true", help="a minute's check, as a first run adds it")
    command.add_argument("--rounds", type=count, help="rounds of every scenario, instead of the profile's")
    command.add_argument("--resume", type=Path, metavar="DIR", help="go on with an interrupted self-test")
    command.add_argument("--seed", type=seed, help="draws order, arrivals and arguments (default: from the clock)")
    command.add_argument("--out", type=Path, default=Path("results"), help="folder of results (default: %(default)s)")
