"""What relays get wrong is tested by name, for both shells: the list, and the proof that nothing is left out."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

HERE = Path(__file__).parent
HAZARDS = {
    "typed re-serialisation drops unknown fields, $defs and $anchor",
    "completion not forwarded",
    "resources/subscribe and unsubscribe not forwarded",
    "Host and Origin not checked",
    "cancellation not forwarded because ids were remapped",
    "list_changed lost",
    "sessions never freed",
    "sessions not freed after DELETE",
    "a GET or DELETE without a session allocates one",
    "children accumulate",
    "grandchildren behind npx and uvx wrappers survive",
    "a call hangs when its server dies",
    "no re-initialise after 404",
    "fan-out of lists is sequential",
    "fan-out of lists has no deadline per server",
    "duplicate ids cross-wire answers",
    "idle streams cut in long calls",
    "prefixed names exceed 64 characters",
    "reload restarts unchanged servers",
}


def marked() -> dict[str, list[ast.AsyncFunctionDef]]:
    """Every hazard that a test names, with the tests that do."""
    found: dict[str, list[ast.AsyncFunctionDef]] = {}
    for file in sorted(HERE.glob("test_*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.AsyncFunctionDef):
                for decorator in node.decorator_list:
                    if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "pytest.mark.relay_hazard":
                        found.setdefault(ast.literal_eval(decorator.args[0]), []).append(node)
    return found


def test_every_hazard_has_its_test_and_no_test_names_another() -> None:
    assert marked().keys() == HAZARDS


@pytest.mark.parametrize("hazard", sorted(HAZARDS))
def test_a_hazard_is_ruled_out_for_every_variant(hazard: str) -> None:
    for test in marked()[hazard]:
        assert {argument.arg for argument in test.args.args} & {"variant", "bridge"}, f"{test.name} knows no variants"
