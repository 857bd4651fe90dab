"""``docs/method.md``: every rule is there, and every file and test that it names exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROWS = re.findall(
    r"^\| (\d+)\. ([^|]+)\|([^|]*)\|([^|]*)\|([^|]*)\|([^|]*)\|$",
    (ROOT / "docs" / "method.md").read_text(),
    flags=re.MULTILINE,
)


def functions(path: Path) -> set[str]:
    return {node.name for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)}


def test_all_rules_are_there_in_order() -> None:
    assert [int(row[0]) for row in ROWS] == list(range(1, 23))


@pytest.mark.parametrize("row", ROWS, ids=[f"{number}. {name.strip()}" for number, name, *_ in ROWS])
def test_what_a_rule_names_exists_or_it_says_that_it_is_open(row: tuple[str, ...]) -> None:
    _, _, how, code, tests, left = (cell.strip() for cell in row)
    files, names = re.findall(r"`([^`]+)`", code), re.findall(r"`([^`]+)`", tests)
    assert left or (how and files and names), "a rule without code and tests has to say that it is open"
    for file in files:
        assert (ROOT / "harness" / "crossfade" / "harness" / file).is_file(), file
    for name in names:
        file, _, function = name.partition("::")
        assert function in functions(ROOT / "tests" / "harness" / file), name
