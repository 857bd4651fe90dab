"""What of a server is shown: the vectors that the Rust mirror replays, and laws for what nobody wrote down."""

from __future__ import annotations

import json
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossfade.impls import NameFilter
from crossfade.impls.filters import Filter, Glob

VECTORS = Path(__file__).parents[2] / "impls" / "vectors" / "filters.jsonl"
CASES = [json.loads(line) for line in VECTORS.read_text().splitlines()]
globs = st.lists(st.text("ab*?[]!-", min_size=1, max_size=6), max_size=3).map(tuple)
aliases = st.dictionaries(st.text("abc", min_size=1, max_size=2), st.text("abc", min_size=1, max_size=2), max_size=4)


@pytest.mark.parametrize("case", [c for c in CASES if "glob" in c], ids=lambda c: c["id"])
def test_globs_match_as_the_vectors_say(case: dict[str, Any]) -> None:
    assert Glob(case["glob"]).matches(case["name"]) is case["expect"]


@pytest.mark.parametrize("case", [c for c in CASES if "filter" in c], ids=lambda c: c["id"])
def test_filters_show_what_the_vectors_say(case: dict[str, Any]) -> None:
    found = Filter(NameFilter(**case["filter"]))
    assert {own: found.shown(own) for own in case["shown"]} == case["shown"]
    assert {shown: found.own(shown) for shown in case["own"]} == case["own"]
    assert {own: found.clash(own) for own in case["clash"]} == case["clash"]


@given(st.text("abc*?[]!-", max_size=8), st.text("abc*?[]!-^", max_size=8))
def test_globs_agree_with_the_standard_library(pattern: str, name: str) -> None:
    assert Glob(pattern).matches(name) is fnmatchcase(name, pattern)


@given(globs, globs, aliases, st.lists(st.text("abc", min_size=1, max_size=2), max_size=6, unique=True))
def test_what_is_listed_without_a_clash_is_called_by_its_name_and_nothing_else(
    allow: tuple[str, ...], deny: tuple[str, ...], alias: dict[str, str], owns: list[str]
) -> None:
    given_twice = len(set(alias.values())) < len(alias)
    if given_twice:
        return
    found = Filter(NameFilter(allow=allow, deny=deny, alias=alias))
    for own in owns:
        shown = found.shown(own)
        if shown is not None and found.clash(own) is None:
            assert found.own(shown) == own
        if shown is None:
            assert found.own(own) in (None, *alias), "a hidden name could be called"
            assert found.own(own) != own


def test_many_stars_take_no_exponential_time() -> None:
    assert not Glob("*a" * 100 + "b").matches("a" * 2000)
