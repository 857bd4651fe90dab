"""The verdict can fail: a failure, a scenario that was not run, an exception that is stale, unknown or not allowed."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.conformance import report, verdict
from tests.conformance.suite import Outcome, outcome, outcomes
from tests.conformance.verdict import BadExceptions, Exempt, Where, faults, load

BRIDGE = Where("modern-legacy", "http", "python")
SCORED = {"legacy": ["ping"], "modern": ["caching", "asking"]}
EXEMPT = Exempt("modern-legacy", "asking", "it has no meaning here, for a reason that is long enough")
PASSES, FAILS = Outcome("x", 1, ()), Outcome("x", 0, ("Check: wrong",))


def test_what_passes_is_no_fault() -> None:
    assert faults({BRIDGE: {"caching": PASSES, "asking": PASSES}}, SCORED, []) == []


def test_a_failure_is_told_with_the_words_of_the_suite() -> None:
    [fault] = faults({BRIDGE: {"caching": FAILS, "asking": PASSES}}, SCORED, [])
    assert fault == "modern-legacy http python: caching: Check: wrong"


def test_a_scenario_that_was_not_run_counts_as_failed() -> None:
    assert faults({BRIDGE: {"caching": PASSES}}, SCORED, []) == ["modern-legacy http python: asking was not run"]


def test_what_is_not_scored_is_no_fault() -> None:
    found = {"caching": PASSES, "asking": PASSES, "tasks": FAILS}
    assert faults({BRIDGE: found}, SCORED, []) == []


def test_an_exception_excuses_its_own_pairing_only() -> None:
    other = Where("modern-modern", "http", "python")
    found = {"caching": PASSES, "asking": FAILS}
    [fault] = faults({BRIDGE: found, other: found}, SCORED, [EXEMPT])
    assert fault.startswith("modern-modern http python: asking")


def test_a_stale_exception_fails_even_if_it_is_stale_for_one_variant() -> None:
    rust = Where("modern-legacy", "http", "rust")
    results = {BRIDGE: {"caching": PASSES, "asking": FAILS}, rust: {"caching": PASSES, "asking": PASSES}}
    assert faults(results, SCORED, [EXEMPT]) == ["modern-legacy http rust: asking passes; take its exception out"]


def test_an_exception_for_what_does_not_exist_fails() -> None:
    [fault] = faults({}, SCORED, [Exempt("modern-legacy", "askign", EXEMPT.reason)])
    assert "no scored scenario has that name" in fault


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ('pairing = "legacy-legacy"\nscenario = "ping"\nreason = "' + "because " * 8 + '"', "allows no exception"),
        ('pairing = "modern-legacy"\nscenario = "ping"\nreason = "no"', "a reason that explains it"),
        ('pairing = "modern-legacy"\nscenario = "ping"', "a reason that explains it"),
    ],
)
def test_an_exception_that_is_not_allowed_is_refused(entry: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "exceptions.toml").write_text(f"[[exception]]\n{entry}\n")
    with pytest.raises(BadExceptions, match=told):
        load(tmp_path / "exceptions.toml")


def test_the_reviewed_file_can_be_read_and_is_for_bridges_only() -> None:
    assert {one.pairing for one in load(Path(verdict.__file__).parent / "exceptions.toml")} <= set(verdict.BRIDGED)


def test_names_with_dashes_and_slashes_are_read_from_the_folders_of_a_run(tmp_path: Path) -> None:
    for name in ("server-tools-list", "server-auth/one-two"):
        folder = tmp_path / f"{name}-2026-11-22T18-19-20-123Z"
        folder.mkdir(parents=True)
        (folder / "checks.json").write_text('[{"name": "A", "description": "a", "status": "SUCCESS"}]')
    assert {name: one.passed for name, one in outcomes(tmp_path, "server-").items()} == {
        "tools-list": 1,
        "auth/one-two": 1,
    }


def test_a_check_that_only_warns_is_no_failure() -> None:
    checks = [{"name": "A", "description": "a", "status": "WARNING", "errorMessage": "should"}]
    assert outcome("x", checks) == Outcome("x", 0, (), ("A: should",))


def test_the_table_tells_failing_from_exempt_and_from_not_run() -> None:
    found = {BRIDGE: {"caching": FAILS, "asking": FAILS, "tasks": PASSES}}
    table = report.as_markdown(found, {}, {"legacy": [], "modern": ["caching", "asking", "gone"]}, [EXEMPT])
    rows = {row.split(" | ")[0].strip("| "): row.split(" | ")[1].rstrip(" |") for row in table.splitlines()[4:]}
    assert rows == {"caching": "**fails** (1)", "asking": "no meaning", "gone": "not run", "*tasks*": "passes"}
