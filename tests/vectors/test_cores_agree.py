"""Hypothesis drives the Python, the Rust and the numba core with the same steps; the first difference fails.

Two kinds of steps, because each finds what the other misses: walks of a caller that behaves (``generate.py``) get deep
into half-open breakers and full pools, steps drawn one by one say what nobody would.

All of them must be there. Only ``make test`` on a machine without cargo, which says so, sets CROSSFADE_NO_NATIVE and
leaves the Rust cores out.
"""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.vectors.agreement import NS, SEEDS, Step, agree, candidates, op, own_waiters, steps

from crossfade.impls.cores.rng import SplitMix64

WALKS = runpy.run_path(str(Path(__file__).with_name("generate.py")))["KINDS"]


CONN = st.integers(0, 9)
WAITER = st.integers(0, 6)
INSTANCE = st.integers(0, 70)
WEIGHT = st.one_of(st.integers(0, 3), st.integers(0, 10**6))
BITS = st.one_of(st.text("01", max_size=8), st.text("01", min_size=60, max_size=70))


@pytest.mark.parametrize("kind", sorted(WALKS))
@settings(deadline=None, max_examples=250)
@given(seed=SEEDS)
def test_walks_agree(kind: str, seed: int) -> None:
    walk, _count = WALKS[kind]
    vector = walk(seed, SplitMix64(seed))
    for who, perform in candidates(kind, vector["config"], vector["seed"]):
        for number, step in enumerate(vector["steps"]):
            found = perform(step["at_ns"], step["op"], step["args"])
            assert found == step["expect"], f"step {number} of the walk of seed {seed}: {step}: {who} says {found}"


@settings(deadline=None, max_examples=200)
@given(seed=SEEDS, walk=steps(op("next_u64"), op("below", SEEDS)))
def test_random_streams_agree(seed: int, walk: list[Step]) -> None:
    agree("rng", {}, seed, walk)


@settings(deadline=None, max_examples=400)
@given(
    config=st.fixed_dictionaries(
        {
            "enabled": st.sampled_from([True, True, True, False]),
            "window": st.integers(1, 4),
            "window_ns": NS,
            "min_calls": st.integers(1, 5),
            "failure_per_mille": st.integers(1, 1000),
            "slow_call_ns": NS,
            "slow_per_mille": st.integers(1, 1000),
            "open_ns": st.integers(0, 12),
            "probes": st.integers(1, 3),
        }
    ),
    walk=steps(
        op("admit"),
        op("admit"),
        op("record", st.booleans(), st.integers(0, 12)),
        op("record", st.just(True), NS),
        op("forget", NS),
        op("state"),
        op("retry_after_ns"),
    ),
)
def test_breakers_agree(config: dict[str, Any], walk: list[Step]) -> None:
    agree("breaker", config, 0, walk)


@settings(deadline=None, max_examples=400)
@given(
    kind=st.sampled_from(["round_robin", "weighted", "least_pending", "p2c", "rendezvous"]),
    weights=st.one_of(st.lists(WEIGHT, max_size=6), st.lists(WEIGHT, min_size=60, max_size=70)),
    seed=SEEDS,
    walk=steps(
        op("pick", BITS),
        op("pick", BITS, SEEDS),
        op("started", INSTANCE),
        op("finished", INSTANCE, st.integers(0, 2**42), st.booleans()),
        op("cancelled", INSTANCE),
        op("resize", INSTANCE),
        op("pending", INSTANCE),
        op("ewma_ns", INSTANCE),
    ),
)
def test_balancers_agree(kind: str, weights: list[int], seed: int, walk: list[Step]) -> None:
    agree(kind, {"weights": weights} if kind == "weighted" else {"instances": len(weights)}, seed, walk)


@settings(deadline=None, max_examples=600)
@given(
    config=st.fixed_dictionaries(
        {
            "min_connections": st.integers(0, 5),
            "max_connections": st.integers(1, 4),
            "max_waiters": st.integers(0, 4),
            "streams": st.integers(1, 3),
            "idle_timeout_ns": NS,
            "max_age_ns": NS,
        }
    ),
    walk=steps(
        op("acquire", WAITER, NS),
        op("try_acquire"),
        op("release", CONN, st.booleans()),
        op("take", WAITER),
        op("cancel", WAITER),
        op("connected", CONN),
        op("connect_failed", CONN),
        op("lost", CONN),
        op("tick"),
        op("start"),
        op("resize", st.integers(0, 5), st.integers(1, 5)),
        op("drain"),
        op("next_deadline_ns"),
        op("counts"),
    ),
)
def test_pools_agree(config: dict[str, Any], walk: list[Step]) -> None:
    agree("pool", config, 0, own_waiters(walk))


@settings(deadline=None, max_examples=600)
@given(
    config=st.fixed_dictionaries(
        {
            "strategy": st.sampled_from(["recreate", "rolling", "blue_green", "canary", "shadow"]),
            "old": st.integers(0, 4),
            "new": st.integers(1, 4),
            "max_surge": st.integers(1, 3),
            "steps_percent": st.sampled_from([[5, 25], [100], [1, 2, 99]]),
            "min_samples": st.integers(0, 4),
            "step_timeout_ns": NS,
            "max_failure_per_mille": st.sampled_from([0, 250, 1000]),
            "gate_timeout_ns": NS,
            "drain_ns": NS,
        }
    ),
    walk=steps(
        *(op(name) for name in ("begin", "ready", "ready", "start_failed", "stopped", "stopped", "revived", "abort")),
        op("sample", st.booleans()),
        op("compared", st.booleans()),
        *(op(name) for name in ("tick", "next_deadline_ns", "phase", "counts")),
    ),
)
def test_rollouts_agree(config: dict[str, Any], walk: list[Step]) -> None:
    agree("rollout", config, 0, [(0, "begin", []), *walk])


@settings(deadline=None, max_examples=300)
@given(
    config=st.fixed_dictionaries(
        {"max_entries": st.integers(0, 4), "max_bytes": st.integers(0, 40), "max_ttl_ns": st.integers(0, 2**64 - 1)}
    ),
    walk=steps(
        op("put", CONN, st.integers(0, 12), NS),
        op("put", CONN, SEEDS, SEEDS),
        op("get", CONN),
        op("get", CONN),
        op("remove", CONN),
        op("keys"),
        op("counts"),
    ),
)
def test_caches_agree(config: dict[str, Any], walk: list[Step]) -> None:
    agree("cache", config, 0, walk)
