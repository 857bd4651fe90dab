"""The states of the interface are keys, and their words are those of ``impls/vectors/states.json``.

``impls/rust/runtime/src/states.rs`` holds the Rust ones to the same file.
"""

from __future__ import annotations

import json
from enum import StrEnum

import pytest
from tests.vectors.test_vectors import FOLDER

from crossfade.impls import CircuitState, DeploymentState, ServerState, StorageClass

STATES: dict[str, list[str]] = json.loads((FOLDER / "states.json").read_text())
KINDS: tuple[type[StrEnum], ...] = (ServerState, CircuitState, DeploymentState, StorageClass)


def test_no_kind_is_in_one_language_only() -> None:
    assert {kind.__name__ for kind in KINDS} == set(STATES)


@pytest.mark.parametrize("kind", KINDS)
def test_no_member_has_another_word_or_place_than_in_rust(kind: type[StrEnum]) -> None:
    assert [member.value for member in kind] == STATES[kind.__name__]
    assert [member.name.lower() for member in kind] == STATES[kind.__name__]


@pytest.mark.parametrize("kind", KINDS)
def test_a_key_is_found_by_its_member_and_by_the_word_that_crosses(kind: type[StrEnum]) -> None:
    places = {member: place for place, member in enumerate(kind)}
    assert len(places) == len(STATES[kind.__name__])
    for place, word in enumerate(STATES[kind.__name__]):
        assert places[kind(word)] == place
        assert places[word] == place  # type: ignore[index]  # mypy sees the enum, a decoded snapshot brings the word
