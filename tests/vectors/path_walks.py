"""The walks of ``generate.py`` for the policies on the path of a request: limits, queue, second attempts, shedding."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.vectors.walk import STEPS, Walk

from crossfade.impls.cores.rng import SplitMix64


def _rate(rng: SplitMix64) -> dict[str, Any]:
    return {"requests": 1 + rng.below(7), "per_ns": 1 + rng.below(40), "burst": 1 + rng.below(5)}


def gcra(number: int, rng: SplitMix64) -> dict[str, Any]:
    walk = Walk("gcra", number, _rate(rng), rng)
    for _ in range(STEPS):
        if walk.chance(600):
            walk.now_ns += rng.below(12)
        wait_ns = walk.step("admit")
        if wait_ns and walk.chance(400):
            walk.now_ns += wait_ns - rng.below(2)
        elif walk.chance(50):
            walk.now_ns += 1 << 30
        walk.step("peek")
    return walk.vector


def keyed_limiter(number: int, rng: SplitMix64) -> dict[str, Any]:
    walk = Walk("keyed_limiter", number, {**_rate(rng), "max_keys": 1 + rng.below(6)}, rng)
    keys = [rng.next_u64() for _ in range(1 + rng.below(9))]
    for _ in range(STEPS):
        if walk.chance(500):
            walk.now_ns += rng.below(10)
        key = walk.one_of(*keys)
        wait_ns = walk.step("admit", key)
        if wait_ns and walk.chance(300):
            walk.now_ns += wait_ns - rng.below(2)
        if walk.chance(500):
            walk.step("peek", walk.one_of(*keys))
        else:
            walk.step("size")
    return walk.vector


def bulkhead(number: int, rng: SplitMix64) -> dict[str, Any]:
    config = {"max_in_flight": rng.below(4) if number % 4 else 1 + rng.below(3), "max_queue": rng.below(6)}
    walk = Walk("bulkhead", number, config, rng)
    waiters: list[int] = []
    granted: list[int] = []
    leases = 0

    def perform(actions: list[list[Any]]) -> None:
        for verb, waiter, *_ in actions:
            waiters.remove(waiter)
            if verb == "grant":
                granted.append(waiter)

    for turn in range(STEPS):
        walk.now_ns += rng.below(8)
        op = walk.one_of("acquire", "acquire", "try_acquire", "take", "take", "release", "cancel", "rest")
        if op == "acquire":
            waiters.append(turn)
            perform(walk.step("acquire", turn, walk.now_ns + rng.below(40)))
        elif op == "try_acquire":
            leases += walk.step("try_acquire")
        elif op == "take" and granted:
            leases += walk.step("take", granted.pop(rng.below(len(granted))))
        elif op == "release" and (leases or walk.chance(100)):
            leases = max(0, leases - 1) if leases else 0
            perform(walk.step("release"))
        elif op == "cancel" and (waiters or granted):
            queue = walk.one_of(waiters or granted, granted or waiters)
            perform(walk.step("cancel", queue.pop(rng.below(len(queue)))))
        elif walk.chance(150):
            perform(walk.step("resize", rng.below(5), rng.below(6)))
        elif turn > STEPS * 3 // 4 and walk.chance(100):
            perform(walk.step("drain"))
        else:
            perform(walk.step("tick"))
        walk.step(walk.one_of("counts", "next_deadline_ns"))
    return walk.vector


def retry(number: int, rng: SplitMix64) -> dict[str, Any]:
    config = {
        "attempts": 1 + rng.below(5),
        "base_ns": rng.below(100),
        "cap_ns": rng.below(1000),
        "budget_per_mille": rng.below(1001),
        "budget_burst": 1 + rng.below(4),
    }
    walk = Walk("retry", number, config, rng)
    for _ in range(STEPS):
        walk.now_ns += rng.below(9)
        walk.step("request")
        made = 1
        while walk.chance(500) and walk.step("next", made) >= 0:
            made += 1
            if walk.chance(100):
                walk.step("forget")
                break
        if walk.chance(300):
            walk.step("budget_milli")
    return walk.vector


def hedge(number: int, rng: SplitMix64) -> dict[str, Any]:
    config = {"delay_ns": 0 if number % 3 else 1 + rng.below(99), "per_mille": 1 + rng.below(1000)}
    walk = Walk("hedge", number, config, rng)
    for _ in range(STEPS):
        walk.now_ns += rng.below(9)
        walk.step("request")
        if walk.chance(600):
            walk.step("try_start")
        for _ in range(rng.below(3)):
            latency_ns = rng.below(1 << (4 + 4 * rng.below(9)))
            if number % 2:
                walk.step("record", latency_ns)
            else:  # enough for the sketch to forget
                walk.step("record_many", latency_ns, rng.below(99))
        if walk.chance(300):
            walk.step("delay_ns")
    return walk.vector


def shedder(number: int, rng: SplitMix64) -> dict[str, Any]:
    config = {"max_in_flight": rng.below(3) * 4, "target_ns": 5 + rng.below(10), "interval_ns": 20 + rng.below(60)}
    walk = Walk("shedder", number, config, rng)
    crowded = True
    for _ in range(STEPS):
        walk.now_ns += rng.below(30)
        if walk.chance(50):
            crowded = not crowded
            walk.now_ns += rng.below(2) * rng.below(17 * 80)
        if walk.chance(600):
            walk.step("waited", config["target_ns"] + rng.below(20) if crowded else rng.below(12))
        for _ in range(1 + rng.below(3)):
            walk.step("admit", rng.below(4 + walk.chance(200)))
        if walk.chance(200):
            walk.step("shedding")
    return walk.vector


PATH_WALKS: dict[str, tuple[Callable[[int, SplitMix64], dict[str, Any]], int]] = {
    "gcra": (gcra, 10),
    "keyed_limiter": (keyed_limiter, 16),
    "bulkhead": (bulkhead, 32),
    "retry": (retry, 16),
    "hedge": (hedge, 12),
    "shedder": (shedder, 16),
}
"""Kind to its walk, and how many of them are kept."""
