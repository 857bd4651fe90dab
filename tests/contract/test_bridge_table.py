"""README's table of the bridge says what the test run says, no more and no less."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.contract.bridge_record import COLUMNS, FEATURES, ROOT, VARIANTS, Outcomes, differences, main, rendered, shown

EVERYTHING: Outcomes = {(feature, *at): dict.fromkeys(VARIANTS, True) for feature in FEATURES for at in COLUMNS}


def test_readme_has_a_cell_for_every_feature_in_every_place() -> None:
    assert shown((ROOT / "README.md").read_text()).keys() == EVERYTHING.keys()


def test_what_is_written_is_what_is_read() -> None:
    assert differences(rendered(EVERYTHING), EVERYTHING) == []
    assert all(shown(rendered(EVERYTHING)).values())


@pytest.mark.parametrize("variants", [{"python": True, "rust": False}, {}, {"python": True, "rust": True}], ids=str)
def test_one_variant_less_is_no_check(variants: dict[str, bool]) -> None:
    cell = ("roots", "legacy", "modern", "stdio")
    assert not shown(rendered({**EVERYTHING, cell: variants}))[cell]


def test_a_claim_that_the_run_denies_is_told_and_so_is_a_hidden_success() -> None:
    cell = ("roots", "legacy", "modern", "stdio")
    failed = {**EVERYTHING, cell: {"python": True, "rust": False}}
    assert differences(rendered(EVERYTHING), failed) == ["roots/legacy/modern/stdio is ✓ there and - in this run"]
    assert differences(rendered(failed), EVERYTHING) == ["roots/legacy/modern/stdio is - there and ✓ in this run"]
    assert differences(rendered(EVERYTHING), {cell: {"python": True}}) == [], "half a run says nothing"


def test_the_table_is_written_between_its_marks(tmp_path: Path) -> None:
    file, readme = tmp_path / "run.json", tmp_path / "README.md"
    file.write_text(json.dumps([["/".join(cell), variants] for cell, variants in EVERYTHING.items()]))
    readme.write_text("before\n<!-- bridge:begin -->\nold\n<!-- bridge:end -->\nafter\n")
    main(str(file), str(readme))
    assert readme.read_text() == f"before\n{rendered(EVERYTHING)}\nafter\n"
