"""The Rust cores as Python classes: the shared vectors through each of them, and what only a crossing can get wrong."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from tests.vectors.test_vectors import VECTORS

from crossfade.impls import cores
from crossfade.impls.cores.replay import Replayer
from crossfade.impls.states import CircuitState

CLASSES = (
    *("Breaker", "Pool", "RoundRobin", "Weighted", "LeastPending", "P2C", "Rendezvous"),
    *("Gcra", "KeyedLimiter", "Bulkhead", "Retry", "Hedge", "Shedder"),
    *("Health", "Restart"),
)
NOT_CLASSES = ("rng", "rollout", "cache")


def native(name: str) -> Any:
    import crossfade_native

    return getattr(crossfade_native, name)


@pytest.mark.parametrize(("kind", "vector"), [pytest.param(k, v, id=n) for k, n, v in VECTORS if k not in NOT_CLASSES])
def test_a_rust_class_in_place_of_the_python_one_reproduces(kind: str, vector: dict[str, Any]) -> None:
    from crossfade.impls.cores_rust import RUST_CORES

    core = Replayer(kind, vector["config"], vector["seed"], RUST_CORES)
    for number, step in enumerate(vector["steps"]):
        found = core.step(step["at_ns"], step["op"], step["args"])
        assert found == step["expect"], f"step {number}: {step}"


@pytest.mark.parametrize("name", CLASSES)
def test_a_class_offers_everything_that_its_python_twin_does(name: str) -> None:
    """But ``draining`` and the like are properties here: so instances are not compared, only names."""
    twin: type = getattr(cores, name)
    public = {attribute for attribute in dir(twin) if not attribute.startswith("_")}
    assert public <= set(dir(native(name)))


@pytest.mark.parametrize("n", [1, 63, 64, 65, 128, 130, 256, 300])
def test_a_mask_of_any_size_means_what_it_says(n: int) -> None:
    turns = native("RoundRobin")(n)
    usable = (1 << n - 1) | 1
    assert [turns.pick(0, usable) for _ in range(2)] == ([0, n - 1] if n > 1 else [0, 0])
    assert turns.pick(0, 1 << n) == -1, "bits beyond the instances count for nothing"
    assert turns.pick(0, 0) == -1
    assert turns.pick(0, -1) in range(n)


def test_keys_and_seeds_are_taken_modulo_two_to_the_64() -> None:
    mask, key = (1 << 9) - 1, 0xDEAD_BEEF_0BAD_CAFE
    rust, python = native("Rendezvous")(9), cores.Rendezvous(9)
    assert rust.pick(0, mask, key + (1 << 64)) == rust.pick(0, mask, key) == python.pick(0, mask, key)
    draws = [native("P2C")(9, seed) for seed in (7, 7 + (1 << 64))]
    assert len({tuple(balancer.pick(0, mask) for _ in range(20)) for balancer in draws}) == 1


def test_answers_are_the_python_classes_themselves() -> None:
    breaker = native("Breaker")(cores.BreakerConfig(window=1, min_calls=1))
    assert breaker.state(1) is CircuitState.CLOSED
    breaker.record(1, False, 0)
    assert breaker.state(1) is CircuitState.OPEN
    pool = native("Pool")(cores.PoolConfig(max_connections=1, max_waiters=0))
    assert pool.acquire(0, 1, 5) == (cores.Connect(1),)
    assert pool.connected(1, 1) == (cores.Grant(1, 1),)
    assert pool.acquire(1, 2, 5) == (cores.Reject(2, "queue_full"),)
    assert pool.take(1)
    assert pool.release(2, 1, False) == (cores.Close(1, "unusable"),)
    assert pool.release(2, 1, True) == ()


@pytest.mark.parametrize("usable", ["101", None, 1.5])
def test_a_mask_that_is_no_number_is_refused(usable: Any) -> None:
    with pytest.raises(TypeError):
        native("RoundRobin")(3).pick(0, usable)


def test_a_configuration_without_a_key_names_the_key() -> None:
    with pytest.raises(AttributeError, match="unhealthy_after"):
        native("Health")(object())


def test_threads_share_one_breaker_without_more_probes_than_there_are() -> None:
    breaker = native("Breaker")(cores.BreakerConfig(window=1, min_calls=1, open_ns=10, probes=3))
    breaker.record(100, False, 0)
    admitted: list[bool] = []
    threads = [
        threading.Thread(target=lambda: admitted.extend(breaker.admit(110) for _ in range(50))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(admitted) == 3
