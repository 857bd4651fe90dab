"""Hypothesis drives the cores that follow an instance's life, in every language, with steps drawn one by one."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.vectors.agreement import NS, SEEDS, Step, agree, op, steps


@settings(deadline=None, max_examples=200)
@given(
    config=st.fixed_dictionaries({"unhealthy_after": st.integers(0, 4), "healthy_after": st.integers(0, 4)}),
    walk=steps(op("record", st.booleans()), op("healthy")),
)
def test_health_agrees(config: dict[str, Any], walk: list[Step]) -> None:
    agree("health", config, 0, walk)


@settings(deadline=None, max_examples=300)
@given(
    config=st.fixed_dictionaries(
        {
            "base_ns": st.one_of(st.integers(0, 20), st.integers(0, 2**60)),
            "cap_ns": st.one_of(st.integers(0, 400), st.integers(0, 2**62)),
            "reset_after_ns": NS,
            "max_restarts": st.one_of(st.integers(0, 6), st.integers(60, 80)),
            "window_ns": NS,
        }
    ),
    seed=SEEDS,
    walk=steps(op("exited", NS), op("exited", st.integers(0, 9)), op("down_until_ns"), op("reset")),
)
def test_restarts_agree(config: dict[str, Any], seed: int, walk: list[Step]) -> None:
    agree("restart", config, seed, walk)
