"""Exposed names: short enough, stable, distinct, and readable back where nothing was cut."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossfade.impls import names

VECTORS = Path(__file__).parents[2] / "impls" / "vectors" / "names.jsonl"
CASES = [json.loads(line) for line in VECTORS.read_text().splitlines()]
servers = st.from_regex(r"[A-Za-z0-9](?:[A-Za-z0-9.-]){0,40}", fullmatch=True)


@pytest.mark.parametrize("case", CASES, ids=[c["id"] for c in CASES])
def test_vectors(case: dict[str, Any]) -> None:
    assert names.exposed(case["server"], case["name"]) == case["expect"]["exposed"]
    assert names.is_shortened(case["expect"]["exposed"]) == case["expect"]["shortened"]


@given(servers, st.text(min_size=1, max_size=200))
def test_a_name_stays_short_and_keeps_its_server(server: str, name: str) -> None:
    shown = names.exposed(server, name)
    assert len(shown) < 64
    parts = names.split(shown)
    assert parts is not None
    assert parts[0] == server
    if len(server) + 2 + len(name) <= names.LIMIT:
        assert parts[1] == name
    else:
        assert names.is_shortened(shown)


def test_long_names_that_differ_at_the_end_stay_apart() -> None:
    shown = {names.exposed("up", "n" * 100 + str(number)) for number in range(2000)}
    assert len(shown) == 2000


@pytest.mark.parametrize("name", ["", "plain", "__tool", "server__", "_"])
def test_what_has_no_server_in_front_does_not_split(name: str) -> None:
    assert names.split(name) is None
