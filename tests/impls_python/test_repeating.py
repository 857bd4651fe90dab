"""What a failed attempt costs of the retry budget: one token if another is made, and nothing else ever."""

from __future__ import annotations

from crossfade.impls.config import RetrySpec
from crossfade.impls.cores import PYTHON_CORES
from crossfade.impls.errors import ServerCrashed, ServerTimeout
from crossfade.impls.python.repeating import Repeating

CRASHED = ServerCrashed("server 'a' ended; call again", server="a")


def repeating(*, budget_burst: int, budget_per_mille: int = 200) -> Repeating:
    spec = RetrySpec(budget_burst=budget_burst, budget_per_mille=budget_per_mille)
    return Repeating(spec, PYTHON_CORES, 1)


def test_a_refusal_after_the_deadline_does_not_fill_the_budget() -> None:
    policy = repeating(budget_burst=1, budget_per_mille=0)
    assert policy.delay_ns(CRASHED, 1, 0, 10**12) >= 0
    assert policy.delay_ns(CRASHED, 1, 10**12 + 5, 10**12) == -1
    assert policy.core.budget_milli() == 0, "a refused retry gave back a token that it never took"


def test_a_retry_without_time_left_costs_nothing() -> None:
    policy = repeating(budget_burst=1, budget_per_mille=0)
    assert policy.delay_ns(CRASHED, 1, 100, 100) == -1
    assert policy.core.budget_milli() == 1000


def test_what_another_attempt_cannot_mend_costs_nothing() -> None:
    policy = repeating(budget_burst=1)
    timeout = ServerTimeout("server 'a' did not answer; raise timeoutMs", server="a")
    assert policy.delay_ns(timeout, 1, 0, 10**12) == -1
    assert policy.core.budget_milli() == 1000
