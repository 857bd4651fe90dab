"""Hypothesis drives the policies on the path of a request, in Python, Rust and numba, with steps drawn one by one."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.vectors.agreement import NS, SEEDS, Step, agree, op, own_waiters, steps

RATE = {
    "requests": st.integers(1, 9),
    "per_ns": st.one_of(st.integers(1, 40), st.integers(1, 86_400_000_000_000)),
    "burst": st.one_of(st.integers(1, 5), st.integers(1, 1_000_000)),
}
KEY = st.one_of(st.integers(0, 5), st.sampled_from([2**63, 2**64 - 1]))


@settings(deadline=None, max_examples=300)
@given(config=st.fixed_dictionaries(RATE), walk=steps(op("admit"), op("admit"), op("peek")))
def test_limits_agree(config: dict[str, Any], walk: list[Step]) -> None:
    agree("gcra", config, 0, walk)


@settings(deadline=None, max_examples=400)
@given(
    config=st.fixed_dictionaries({**RATE, "max_keys": st.integers(1, 4)}),
    walk=steps(op("admit", KEY), op("admit", KEY), op("peek", KEY), op("size")),
)
def test_keyed_limiters_agree(config: dict[str, Any], walk: list[Step]) -> None:
    agree("keyed_limiter", config, 0, walk)


WAITER = st.integers(0, 6)


@settings(deadline=None, max_examples=400)
@given(
    config=st.fixed_dictionaries({"max_in_flight": st.integers(0, 3), "max_queue": st.integers(0, 4)}),
    walk=steps(
        op("acquire", WAITER, NS),
        op("acquire", WAITER, NS),
        op("try_acquire"),
        op("release"),
        op("take", WAITER),
        op("cancel", WAITER),
        op("tick"),
        op("resize", st.integers(0, 3), st.integers(0, 4)),
        op("drain"),
        op("next_deadline_ns"),
        op("counts"),
    ),
)
def test_bulkheads_agree(config: dict[str, Any], walk: list[Step]) -> None:
    agree("bulkhead", config, 0, own_waiters(walk))


@settings(deadline=None, max_examples=300)
@given(
    config=st.fixed_dictionaries(
        {
            "attempts": st.integers(0, 70),
            "base_ns": st.one_of(NS, st.integers(0, 2**64 - 1)),
            "cap_ns": st.one_of(NS, st.integers(0, 2**64 - 1)),
            "budget_per_mille": st.integers(0, 1000),
            "budget_burst": st.integers(0, 30),
        }
    ),
    seed=SEEDS,
    walk=steps(op("request"), op("next", st.integers(0, 70)), op("forget"), op("budget_milli")),
)
def test_retries_agree(config: dict[str, Any], seed: int, walk: list[Step]) -> None:
    agree("retry", config, seed, walk)


@settings(deadline=None, max_examples=300)
@given(
    config=st.fixed_dictionaries({"delay_ns": st.sampled_from([0, 0, 7]), "per_mille": st.integers(0, 1000)}),
    walk=steps(
        op("request"),
        op("try_start"),
        op("delay_ns"),
        op("record", st.integers(0, 2**64 - 1)),
        op("record_many", NS, st.integers(0, 600)),
        op("record_many", NS, st.integers(0, 40)),
    ),
)
def test_hedges_agree(config: dict[str, Any], walk: list[Step]) -> None:
    agree("hedge", config, 0, walk)


@settings(deadline=None, max_examples=400)
@given(
    config=st.fixed_dictionaries(
        {
            "max_in_flight": st.sampled_from([0, 0, 3]),
            "target_ns": st.sampled_from([0, 4, 4, 4]),
            "interval_ns": st.one_of(st.integers(0, 12), st.integers(0, 12), st.integers(0, 2**60)),
        }
    ),
    walk=steps(
        op("admit", st.integers(0, 4)),
        op("admit", st.just(0)),
        op("waited", st.integers(4, 9)),
        op("waited", st.integers(4, 9)),
        op("waited", NS),
        op("shedding"),
    ),
)
def test_shedders_agree(config: dict[str, Any], walk: list[Step]) -> None:
    agree("shedder", config, 0, walk)
