"""The options of ``crossfade plan``."""

from __future__ import annotations

import argparse
from pathlib import Path

from crossfade.harness.cli.values import cores, duration, failures, rate, seed, slots

BALANCERS = ("p2c", "round_robin", "least_pending", "random")


def plan_options(command: argparse.ArgumentParser) -> None:
    """What is asked, of what it is answered, and what the answer is compared with."""
    command.add_argument("--rate", type=rate, help="requests per second over all nodes")
    command.add_argument("--slo-p99", type=duration, metavar="DURATION", help="for example 10ms")
    command.add_argument(
        "--results", type=Path, default=Path("results/latest"), help="with a rate-sweep (default: %(default)s)"
    )
    command.add_argument("--impl", metavar="NAME", help="variant (default: the baseline of the results)")
    command.add_argument("--cores", type=cores, default=1, help="of each node (default: %(default)s)")
    command.add_argument("--instances", type=cores, default=1, help="behind all nodes (default: %(default)s)")
    command.add_argument(
        "--slots", type=slots, default=0, help="calls that an instance serves at once (default: no bound)"
    )
    command.add_argument("--balancer", choices=BALANCERS, default="p2c", help="over instances (default: %(default)s)")
    command.add_argument(
        "--failure-rate", type=failures, default=0.0, metavar="SHARE", help="of calls, as 5%% or 0.05 (default: none)"
    )
    command.add_argument("--validate", type=Path, metavar="RESULTS", help="compare measured nodes with the model")
    command.add_argument(
        "--validation", type=Path, metavar="FILE", help="that comparison: written by --validate, read otherwise"
    )
    command.add_argument("--into", type=Path, metavar="DOCUMENT", help="put the comparison between its markers")
    command.add_argument("--seed", type=seed, default=1, help="draws arrivals and times (default: %(default)s)")
