"""What a test run says of the bridge: the outcome of every cell, README's table made of it, and whether they agree.

A test of the grid tells its cell as a user property, which also comes through from pytest's workers. Rule: a cell is a
check only if every variant passed it; a run that says otherwise than README fails at its end.
``python -m tests.contract.bridge_record FILE README.md`` writes the table from what ``pytest --bridge-json FILE`` kept.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BEGIN, END = "<!-- bridge:begin -->", "<!-- bridge:end -->"
FEATURES = (
    *("tools", "resources", "prompts", "completion", "progress", "cancellation", "subscription"),
    *("elicitation", "sampling", "roots", "logging"),
)
PAIRINGS = [(client, server) for client in ("modern", "legacy") for server in ("modern", "legacy")]
TRANSPORTS = ("stdio", "http")
VARIANTS = frozenset({"python", "numba", "rust-core", "rust"})
"""Who has to pass a cell: all of them."""
COLUMNS = [(*pairing, transport) for pairing in PAIRINGS for transport in TRANSPORTS]
CHECK, NONE = "✓", "-"

Cell = tuple[str, str, str, str]
Outcomes = dict[Cell, dict[str, bool]]


class Recorder:
    """Collects during a run; tells at its end."""

    def __init__(self, config: pytest.Config) -> None:
        self._file: str | None = config.getoption("--bridge-json")
        self._outcomes: Outcomes = defaultdict(dict)
        self._wrong: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        for name, value in report.user_properties:
            if name == "bridge" and (report.failed or (report.when == "call" and report.passed)):
                *cell, variant = str(value).split("/")
                variants = self._outcomes[(cell[0], cell[1], cell[2], cell[3])]
                variants[variant] = variants.get(variant, True) and report.passed

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if hasattr(session.config, "workerinput"):
            return
        if self._file is not None:
            kept = [["/".join(cell), variants] for cell, variants in sorted(self._outcomes.items())]
            Path(self._file).write_text(json.dumps(kept, indent=1) + "\n")
        elif self._outcomes:
            self._wrong = differences((ROOT / "README.md").read_text(), self._outcomes)
            if self._wrong and session.exitstatus == pytest.ExitCode.OK:
                session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        for line in self._wrong:
            terminalreporter.write_line(f"README's bridge table: {line}; run make bridge-table", red=True)


def is_passed(cell: Cell, outcomes: Outcomes) -> bool | None:
    """None if the run does not say, because not every variant ran."""
    variants = outcomes.get(cell, {})
    if not all(variants.values()):
        return False
    return True if variants.keys() >= VARIANTS else None


def rendered(outcomes: Outcomes) -> str:
    """The table between its marks."""
    head = [f"{client} → {server}, {'HTTP' if via == 'http' else via}" for client, server, via in COLUMNS]
    lines = [row("client → server", head), row("---", [":-:"] * len(head))]
    for feature in FEATURES:
        lines.append(row(feature, [CHECK if is_passed((feature, *at), outcomes) else NONE for at in COLUMNS]))
    return "\n".join([BEGIN, "", *lines, "", END])


def row(name: str, cells: Iterable[str]) -> str:
    return f"| {' | '.join([name, *cells])} |"


def shown(readme: str) -> dict[Cell, bool]:
    """What README's table claims."""
    table = readme.partition(BEGIN)[2].partition(END)[0]
    rows = [[cell.strip() for cell in line.strip("| ").split("|")] for line in table.splitlines() if "|" in line]
    return {(name, *at): cell == CHECK for name, *cells in rows[2:] for at, cell in zip(COLUMNS, cells, strict=True)}


def differences(readme: str, outcomes: Outcomes) -> list[str]:
    """Where README claims what the run denies, or hides what the run shows."""
    claims = shown(readme)
    return [
        f"{'/'.join(cell)} is {CHECK if claims.get(cell) else NONE} there and {CHECK if passed else NONE} in this run"
        for cell in sorted(outcomes)
        if cell[3] in TRANSPORTS and (passed := is_passed(cell, outcomes)) is not None and passed != claims.get(cell)
    ]


def read(file: Path) -> Outcomes:
    outcomes: Outcomes = {}
    for name, variants in json.loads(file.read_text()):
        feature, client, server, transport = name.split("/")
        outcomes[(feature, client, server, transport)] = variants
    return outcomes


def main(file: str, readme: str) -> None:
    text = Path(readme).read_text()
    before, mark, rest = text.partition(BEGIN)
    if not mark or END not in rest:
        sys.exit(f"{readme}: no {BEGIN} ... {END} to write between; add both lines where the table belongs")
    Path(readme).write_text(before + rendered(read(Path(file))) + rest.partition(END)[2])


if __name__ == "__main__":
    main(*sys.argv[1:])
