"""The Python translation on the vectors that the Rust one replays as well (``cargo test``, and natively here)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.vectors.translation import OPERATIONS, step

VECTORS = Path(__file__).parents[2] / "impls" / "vectors" / "translation.jsonl"
CASES = [json.loads(line) for line in VECTORS.read_text().splitlines()]


@pytest.mark.parametrize("case", CASES, ids=[case["id"] for case in CASES])
def test_translations_are_as_the_vectors_say(case: dict[str, Any]) -> None:
    assert step(case["op"], case["args"]) == case["expect"]


def test_every_operation_has_a_vector() -> None:
    assert {case["op"] for case in CASES} == set(OPERATIONS)
