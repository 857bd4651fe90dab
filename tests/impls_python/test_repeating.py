"""What may be sent twice: nothing by accident, and nothing on word that is out of date."""

from __future__ import annotations

from typing import Any

import pytest

from crossfade.impls import RetrySpec
from crossfade.impls.cores import PYTHON_CORES
from crossfade.impls.errors import (
    CircuitOpen,
    CrashLoop,
    CrossfadeError,
    PoolTimeout,
    ProtocolViolation,
    RemoteError,
    ServerCrashed,
    ServerStartError,
    ServerTimeout,
)
from crossfade.impls.python.repeating import Repeating, may_mend

SECOND_NS = 1_000_000_000


def of(**more: Any) -> Repeating:
    return Repeating(RetrySpec(**more), PYTHON_CORES, 1)


@pytest.mark.parametrize("error", [ServerStartError, ServerCrashed, PoolTimeout])
def test_what_another_attempt_can_mend(error: type[CrossfadeError]) -> None:
    assert may_mend(error("x"))


@pytest.mark.parametrize("error", [ServerTimeout, ProtocolViolation, RemoteError, CircuitOpen, CrashLoop])
def test_what_no_attempt_mends_or_what_may_still_run(error: type[CrossfadeError]) -> None:
    assert not may_mend(error("x"))


@pytest.mark.parametrize(
    "annotations",
    [None, {}, [], "readOnlyHint", {"readOnlyHint": False}, {"idempotentHint": "yes"}, {"idempotentHint": 1}],
)
def test_only_a_plain_yes_is_a_hint(annotations: object) -> None:
    repeating = of()
    repeating.learn("tool", annotations)
    assert not repeating.allows("tools/call", "tool")
    assert not repeating.tools


def test_a_hint_that_is_taken_back_or_out_of_date_does_not_count() -> None:
    repeating = of()
    repeating.learn("tool", {"readOnlyHint": True})
    assert repeating.allows("tools/call", "tool")
    repeating.learn("tool", {"readOnlyHint": False})
    assert not repeating.allows("tools/call", "tool")
    repeating.learn("tool", {"idempotentHint": True})
    repeating.forget()
    assert not repeating.allows("tools/call", "tool")
    assert not repeating.tools


def test_configured_tools_outlive_a_changed_list() -> None:
    repeating = of(tools=("safe_*",))
    repeating.forget()
    assert repeating.tools
    assert repeating.allows("tools/call", "safe_one")
    assert not repeating.allows("tools/call", "Safe_one"), "case counts"
    assert not repeating.allows("tools/call", None)


def test_an_unknown_method_is_not_safe() -> None:
    repeating = of()
    assert repeating.allows("resources/read", "x://y")
    assert not repeating.allows("logging/setLevel", None)


def test_a_delay_beyond_the_deadline_is_no_attempt_and_costs_nothing() -> None:
    repeating = of(attempts=10, base_ms=60_000, cap_ms=60_000, budget_burst=1, budget_per_mille=0)
    error = ServerCrashed("x")
    for _ in range(50):
        assert repeating.delay_ns(error, 1, SECOND_NS, SECOND_NS + 1) == -1
    assert repeating.core.budget_milli() == 1000
