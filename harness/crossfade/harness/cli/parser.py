"""Every command and option, and nothing that they do."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NoReturn

from crossfade.harness.cli.export_options import export_options, instructions_options
from crossfade.harness.cli.plan_options import plan_options
from crossfade.harness.cli.selftest_options import selftest_options
from crossfade.harness.cli.values import (
    connections,
    count,
    port,
    seconds,
    seed,
    share,
    whole_seconds,
)
from crossfade.harness.gateways import FLEET_PORT
from crossfade.harness.problems import EX_USAGE
from crossfade.scenarios import PROFILES

_EPILOG = """\
examples:
  crossfade run --profile quick              the quick suite, all variants, about five minutes
  crossfade run gateway-echo --impl python --impl rust --rounds 10
  crossfade run gateway-echo --command other='other-gateway --port {port} {upstream}'
  crossfade report results/latest            the page again
  crossfade gate main/results.json results/latest --threshold 5%
  crossfade serve --config mcp.json --impl rust --port 8080

exit codes: 0 fine, 1 no (regressed, different, failed call), 2 inconclusive, 64+ usage or broken input, 130 interrupted
"""


class Parser(argparse.ArgumentParser):
    """argparse exits with 2 on a usage error, which is the gate's "inconclusive"; ours is 64."""

    def error(self, message: str) -> NoReturn:
        """Print usage and leave."""
        self.print_usage(sys.stderr)
        self.exit(EX_USAGE, f"{self.prog}: {message}; see `{self.prog} --help`\n")


def _later(module: str, function: str) -> Callable[[argparse.Namespace], int]:
    # A gateway must not carry the statistics, nor `list` the measuring, in its memory: a command imports its own part.
    def handler(options: argparse.Namespace) -> int:
        chosen: Callable[[argparse.Namespace], int]
        chosen = getattr(importlib.import_module(f"crossfade.harness.cli.{module}"), function)
        return chosen(options)

    return handler


def build_parser() -> Parser:
    """The whole command line; ``handler`` of the parsed options runs the command."""
    parser = Parser(
        prog="crossfade",
        description="One MCP manager, built twice, and the harness that proves what the second one is worth.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"crossfade {_version()}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=Parser)
    _measuring(commands)
    _judging(commands)
    _planning(commands)
    _managing(commands)
    return parser


def _version() -> str:
    try:
        return version("crossfade")
    except PackageNotFoundError:
        return "(not installed)"


def _measuring(commands: argparse._SubParsersAction[Parser]) -> None:
    command = commands.add_parser("run", help="measure scenarios, print verdicts, write results and report")
    command.add_argument(
        "selectors",
        nargs="*",
        metavar="SCENARIO|TAG|FILE",
        help="default: the suite of the profile (`crossfade list scenarios`)",
    )
    _impls(command, "variant to measure; the first is the baseline (default: all that are installed)")
    command.add_argument(
        "--command",
        action="append",
        default=[],
        metavar="NAME=COMMAND",
        help="measure a gateway of your own too, started anew for every block; the command has {port} and one of "
        "{upstream}, {server}, {config} (docs/own-implementation.md)",
    )
    command.add_argument(
        "--url",
        action="append",
        default=[],
        metavar="NAME=URL",
        help="measure a gateway that runs already; its upstream is the fleet at --fleet-port",
    )
    command.add_argument(
        "--fleet-port", type=port, default=FLEET_PORT, help="where the fleet listens for --url (default: %(default)s)"
    )
    command.add_argument(
        "--start-timeout",
        type=seconds,
        default=30.0,
        metavar="SECONDS",
        help="how long a variant or gateway may take to start (default: %(default)g)",
    )
    command.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="change a key of every scenario that has its table, for example load.era=legacy",
    )
    command.add_argument(
        "--profile", choices=PROFILES, default="standard", help="how often and how long (default: %(default)s)"
    )
    command.add_argument("--rounds", type=count, help="rounds of every scenario, instead of the profile's")
    command.add_argument("--seed", type=seed, help="draws order, arrivals and arguments (default: from the clock)")
    command.add_argument("--out", type=Path, default=Path("results"), help="folder of results (default: %(default)s)")
    command.add_argument("--limits", default="nginx,ceiling", help="limit rows, or `none` (default: %(default)s)")
    command.add_argument(
        "--generator", choices=("auto", "rust", "python"), default="auto", help="load and fleet (default: %(default)s)"
    )
    command.add_argument("--resume", type=Path, metavar="DIR", help="go on with a run; failed blocks again")
    command.add_argument(
        "--memray", action="store_true", help="attach a flamegraph of the python variant's allocations"
    )
    command.add_argument("--no-selftest", action="store_true", help="never add a self-test of this machine")
    command.add_argument("--no-report", action="store_true", help="write results only")
    _json(command)
    command.set_defaults(handler=_later("run", "run"))

    command = commands.add_parser("selftest", help="the ruler itself: false alarms between twins, planted flaws found")
    selftest_options(command)
    _impls(command, "variant to run against itself (default: python and rust, as far as they are installed)")
    _json(command)
    command.set_defaults(handler=_later("selftest", "selftest"))

    _crosscheck(commands)

    command = commands.add_parser("parity", help="do the variants give the same answers?")
    _impls(command, "variant to ask; the first is the reference (default: all that are installed)")
    _json(command)
    command.set_defaults(handler=_later("ruler", "parity"))

    command = commands.add_parser("doctor", help="what on this machine makes numbers noisy, and how to fix it")
    _json(command)
    command.set_defaults(handler=_later("results", "doctor"))

    command = commands.add_parser("list", help="scenarios or implementations")
    command.add_argument("what", choices=("scenarios", "impls"))
    command.add_argument("--markdown", action="store_true", help="scenarios: print docs/catalogue.md")
    _json(command)
    command.set_defaults(handler=_later("results", "list_"))


def _crosscheck(commands: argparse._SubParsersAction[Parser]) -> None:
    command = commands.add_parser(
        "crosscheck",
        help="the ruler against an independent tool (wrk), theory, and known truths",
        description="Our load generator against wrk on one nginx, percentiles over a stalled server against theory, "
        "the memory ladder on a manager whose slope is known, and the largest results file. Kept for later reports.",
    )
    command.add_argument("--only", action="append", metavar="PART", help="generators, stalls, arena or large")
    command.add_argument("--rounds", type=count, default=24, help="of the generators (default: %(default)s)")
    command.add_argument("--turns", type=count, default=8, help="of each generator in a round (default: %(default)s)")
    command.add_argument(
        "--duration", type=whole_seconds, default=1, metavar="SECONDS", help="of a turn (default: %(default)s)"
    )
    command.add_argument(
        "--connections", type=connections, default=96, help="enough to saturate nginx (default: %(default)s)"
    )
    command.add_argument("--seed", type=seed)
    command.add_argument("--out", type=Path, default=Path("results"))
    _json(command)
    command.set_defaults(handler=_later("crosscheck", "crosscheck"))


def _planning(commands: argparse._SubParsersAction[Parser]) -> None:
    command = commands.add_parser(
        "plan",
        help="how many nodes hold an objective, by a model",
        description="How many nodes hold an objective: a model's answer, calibrated from a stored sweep. It is not a "
        "measurement; how far measured runs of several nodes bear it out is printed with it (docs/planning.md).",
    )
    plan_options(command)
    _json(command)
    command.set_defaults(handler=_later("planning", "plan"))


def _judging(commands: argparse._SubParsersAction[Parser]) -> None:
    command = commands.add_parser("report", help="write the HTML page from stored results")
    command.add_argument("results", nargs="+", type=Path, help="results.json, or its folder")
    command.add_argument("--out", type=Path, help="file or folder to write (default: beside the first result)")
    command.add_argument(
        "--markdown", action="store_true", help="print the headline and its tables as Markdown instead (one result)"
    )
    command.add_argument(
        "--performance", action="store_true", help="print docs/performance-report.md of it instead (one result)"
    )
    command.add_argument(
        "--into",
        type=Path,
        metavar="FILE",
        help="put it between the crossfade:begin and :end markers of FILE",
    )
    command.set_defaults(handler=_later("results", "report"))

    command = commands.add_parser("instructions", help="instructions per policy operation, by callgrind (valgrind)")
    instructions_options(command)
    command.set_defaults(handler=_later("instructions", "instructions"))

    command = commands.add_parser("export", help="stored results in another tool's format")
    export_options(command)
    command.set_defaults(handler=_later("exporting", "export"))

    for name, text in (
        ("compare", "two results, metric by metric"),
        ("gate", "exit 0 fine, 1 regressed, 2 inconclusive"),
    ):
        command = commands.add_parser(name, help=text)
        command.add_argument("base", type=Path)
        command.add_argument("candidate", type=Path)
        command.add_argument(
            "--threshold", type=share, help="change that matters, as 5%% or 0.05 (default: each scenario's own)"
        )
        command.add_argument("--force", action="store_true", help="compare although environments differ, and say so")
        if name == "compare":
            command.add_argument("--format", choices=("table", "markdown", "json"), default="table")
            command.set_defaults(handler=_later("results", "compare"))
        else:
            _json(command)
            command.set_defaults(handler=_later("results", "gate"))


def _managing(commands: argparse._SubParsersAction[Parser]) -> None:
    command = commands.add_parser("serve", help="run the gateway until SIGINT or SIGTERM")
    _config(command)
    command.add_argument("--host", default="127.0.0.1", help="address to bind (default: %(default)s)")
    command.add_argument("--port", type=port, default=8080, help="TCP port, 0 for any (default: %(default)s)")
    command.add_argument("--stdio", action="store_true", help="serve one client on stdin and stdout instead")
    command.add_argument(
        "--watch", action="store_true", help="reload when the configuration's files change (SIGHUP reloads always)"
    )
    command.set_defaults(handler=_later("manager", "serve"))

    command = commands.add_parser("call", help="call one tool and print its answer")
    command.add_argument("tool", help="as `crossfade tools` prints it, for example files__read")
    command.add_argument(
        "--arg", action="append", default=[], metavar="K=V", help="argument; V is JSON if it parses, else text"
    )
    command.add_argument("--timeout", type=float, help="seconds")
    _config(command)
    _json(command)
    command.set_defaults(handler=_later("manager", "call"))

    for name, text in (
        ("tools", "every tool of every server"),
        ("servers", "configured servers and their state"),
        ("status", "probe every server now; exit 1 if one is not healthy"),
    ):
        command = commands.add_parser(name, help=text)
        _config(command)
        _json(command)
        command.set_defaults(handler=_later("manager", name))

    command = commands.add_parser("config", help="look at a configuration without starting anything")
    parts = command.add_subparsers(required=True, metavar="check|schema", parser_class=Parser)
    command = parts.add_parser("check", help="validate a file and say what is in it; 65 if it is broken")
    command.add_argument("config", type=Path, help="mcpServers JSON file, or TOML")
    command.add_argument("--json", action="store_true", help="print it with every default written out")
    command.set_defaults(handler=_later("configuration", "check"))
    command = parts.add_parser("schema", help="print the JSON Schema, for editors")
    command.set_defaults(handler=_later("configuration", "schema"))


def _config(command: Parser) -> None:
    command.add_argument("--config", type=Path, required=True, help="mcpServers JSON file, or TOML")
    command.add_argument(
        "--impl",
        default=os.environ.get("CROSSFADE_VARIANT", "python"),
        help="variant (default: $CROSSFADE_VARIANT, else python)",
    )


def _impls(command: Parser, text: str) -> None:
    command.add_argument("--impl", action="append", metavar="NAME", help=text)


def _json(command: Parser) -> None:
    command.add_argument("--json", action="store_true", help="print for machines")
