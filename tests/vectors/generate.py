"""Writes ``impls/vectors/*-generated.jsonl``: long random walks through each core, with the Python core as oracle.

    python -m tests.vectors.generate          # after a deliberate change of a decision; read the diff before committing

The hazards in the other files are written and checked by hand; this script never touches them. The walks come from
SplitMix64, so the output is the same on every machine, and ``test_vectors.py`` fails if it is not what is committed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from tests.vectors.life_walks import LIFE_WALKS
from tests.vectors.path_walks import PATH_WALKS
from tests.vectors.walk import STEPS, Walk

from crossfade.impls.cores.rng import SplitMix64

FOLDER = Path(__file__).parents[2] / "impls" / "vectors"


def breaker(number: int, rng: SplitMix64) -> dict[str, Any]:
    config = {
        "enabled": True,
        "window": 1 + rng.below(8),
        "window_ns": rng.below(3) * 40,
        "min_calls": 1 + rng.below(5),
        "failure_per_mille": 200 + rng.below(801),
        "slow_call_ns": rng.below(2) * 20,
        "slow_per_mille": 300 + rng.below(701),
        "open_ns": 1 + rng.below(60),
        "probes": 1 + rng.below(3),
    }
    walk = Walk("breaker", number, config, rng)
    began: list[int] = []
    for _ in range(STEPS):
        walk.now_ns += rng.below(16)
        if not began or walk.chance(450):
            if walk.step("admit"):
                began.append(walk.now_ns)
        else:
            duration_ns = walk.now_ns - began.pop(rng.below(len(began)))
            if walk.chance(850):
                walk.step("record", walk.chance(650), duration_ns)
            else:
                walk.step("forget", duration_ns)
        walk.step(walk.one_of("state", "retry_after_ns"))
    return walk.vector


def _balancer(kind: str, number: int, rng: SplitMix64) -> dict[str, Any]:
    n = walk_n = 1 + rng.below(6) if number % 8 else 65 + rng.below(10)
    config = {"weights": [rng.below(6) for _ in range(n)]} if kind == "weighted" else {"instances": n}
    walk = Walk(kind, number, config, rng)
    for _ in range(STEPS):
        walk.now_ns += rng.below(1 << 31)
        usable = "".join("01"[walk.chance(700)] for _ in range(n))
        i = rng.below(n)
        if walk.chance(500):
            i = walk.step("pick", usable, *([rng.next_u64()] if kind == "rendezvous" else []))
            if i >= 0:
                walk.step("started", i)
        elif walk.chance(800):
            walk.step("finished", i, rng.below(1 << (8 + 3 * (i % 8))), walk.chance(900))
        elif walk.chance(800):
            walk.step("cancelled", i)
        else:
            n = 1 + rng.below(walk_n)
            walk.step("resize", n)
        walk.step(walk.one_of("pending", "ewma_ns"), i if i >= 0 else 0)
    return walk.vector


def pool(number: int, rng: SplitMix64) -> dict[str, Any]:
    config = {
        "min_connections": rng.below(2) * rng.below(6),
        "max_connections": 1 + rng.below(4),
        "max_waiters": rng.below(6),
        "streams": 1 + rng.below(3),
        "idle_timeout_ns": rng.below(2) * (10 + rng.below(40)),
        "max_age_ns": rng.below(2) * (20 + rng.below(60)),
    }
    walk = Walk("pool", number, config, rng)
    connecting: list[int] = []
    leases: list[int] = []
    waiters: list[int] = []
    granted: dict[int, int] = {}

    def drop(items: list[int]) -> int:
        return items.pop(rng.below(len(items)))

    def perform(actions: list[list[Any]]) -> None:
        for verb, who, *rest in actions:
            if verb == "connect":
                connecting.append(who)
            elif verb == "grant":
                granted[who] = rest[0]
            if verb in ("grant", "reject"):
                waiters.remove(who)

    def disturb(late: bool) -> None:
        if walk.chance(300) and waiters:
            perform(walk.step("cancel", drop(waiters)))
        elif walk.chance(120):
            perform(walk.step("lost", 1 + rng.below(8)))
        elif walk.chance(150):
            perform(walk.step("resize", rng.below(4), 1 + rng.below(5)) if walk.chance(600) else walk.step("start"))
        elif late and walk.chance(80):
            perform(walk.step("drain"))
        else:
            walk.now_ns += (1 << 30) if walk.chance(60) else 0
            perform(walk.step("tick"))

    for turn in range(STEPS):
        walk.now_ns += rng.below(8)
        op = walk.one_of("acquire", "acquire", "try_acquire", "connect", "take", "take", "release", "release", "rest")
        if op == "acquire":
            waiters.append(turn)
            perform(walk.step("acquire", turn, walk.now_ns + rng.below(60)))
        elif op == "try_acquire":
            if (conn := walk.step("try_acquire")) is not None:
                leases.append(conn)
        elif op == "connect" and connecting:
            perform(walk.step(walk.one_of("connected", "connected", "connected", "connect_failed"), drop(connecting)))
        elif op == "take" and granted:
            waiter = drop(list(granted))
            conn = granted.pop(waiter)
            if walk.chance(750):
                walk.step("take", waiter)
                leases.append(conn)
            else:
                perform(walk.step("cancel", waiter))
        elif op == "release" and leases:
            perform(walk.step("release", drop(leases), walk.chance(850)))
        else:
            disturb(late=turn > STEPS * 3 // 4)
        walk.step(walk.one_of("counts", "next_deadline_ns"))
    return walk.vector


def rollout(number: int, rng: SplitMix64) -> dict[str, Any]:
    strategy = ("recreate", "rolling", "blue_green", "canary", "shadow")[number % 5]
    config = {
        "strategy": strategy,
        "old": rng.below(5),
        "new": 1 + rng.below(4),
        "max_surge": 1 + rng.below(2),
        "steps_percent": [[5, 50], [30], [1, 25, 100]][rng.below(3)],
        "min_samples": rng.below(7),
        "step_timeout_ns": 20 + rng.below(100),
        "max_failure_per_mille": rng.below(3) * 150,
        "gate_timeout_ns": 30 + rng.below(120),
        "drain_ns": rng.below(20),
    }
    walk = Walk("rollout", number, config, rng)
    starting = stopping = reviving = 0

    def perform(actions: list[list[Any]]) -> None:
        nonlocal starting, stopping, reviving
        for verb, *rest in actions:
            starting += rest[0] if verb == "start" else 0
            stopping += rest[0] if verb == "retire_old" else 0
            reviving += rest[0] if verb == "start_old" else 0

    perform(walk.step("begin"))
    troubled = walk.chance(500)
    for _ in range(STEPS):
        if walk.step("phase") in ("done", "rolled_back"):
            break
        walk.now_ns += rng.below(9)
        report = walk.one_of("start", "start", "stop", "revive", "judge", "judge", "tick")
        if report == "start" and starting:
            starting -= 1
            perform(walk.step("start_failed" if troubled and walk.chance(80) else "ready"))
        elif report == "stop" and stopping:
            stopping -= 1
            perform(walk.step("stopped"))
        elif report == "revive" and reviving:
            reviving -= 1
            perform(walk.step("revived"))
        elif report == "judge":
            ok = not walk.chance(300 if troubled else 20)
            perform(walk.step("compared" if strategy == "shadow" else "sample", ok))
        else:
            perform(walk.step("abort" if troubled and walk.chance(40) else "tick"))
        walk.step(walk.one_of("counts", "counts", "next_deadline_ns"))
    return walk.vector


def cache(number: int, rng: SplitMix64) -> dict[str, Any]:
    config = {"max_entries": rng.below(6), "max_bytes": rng.below(80), "max_ttl_ns": 5 + rng.below(60)}
    walk = Walk("cache", number, config, rng)
    for _ in range(STEPS):
        walk.now_ns += rng.below(8)
        key = rng.below(8)
        if walk.chance(450):
            walk.step("put", key, rng.below(30), rng.below(50))
        elif walk.chance(800):
            walk.step("get", key)
        else:
            walk.step("remove", key)
        walk.step(walk.one_of("keys", "counts"))
    return walk.vector


def histogram(number: int, rng: SplitMix64) -> dict[str, Any]:
    walk = Walk("histogram", number, {}, rng)
    for _ in range(STEPS):
        # Any magnitude is as likely as any other, past the longest that has a bucket too.
        walk.step("record", rng.below(1 << (1 + rng.below(40))))
        if walk.chance(200):
            walk.step("quantile_ns", rng.below(1001))
        if walk.chance(200):
            walk.step("below", 5 + rng.below(33))
    walk.step("summary")
    return walk.vector


KINDS: dict[str, tuple[Callable[[int, SplitMix64], dict[str, Any]], int]] = {
    "breaker": (breaker, 20),
    "round_robin": (partial(_balancer, "round_robin"), 8),
    "weighted": (partial(_balancer, "weighted"), 16),
    "least_pending": (partial(_balancer, "least_pending"), 8),
    "p2c": (partial(_balancer, "p2c"), 16),
    "rendezvous": (partial(_balancer, "rendezvous"), 8),
    "pool": (pool, 48),
    "cache": (cache, 16),
    "histogram": (histogram, 8),
    "rollout": (rollout, 60),
    **LIFE_WALKS,
    **PATH_WALKS,
}


def generated() -> Iterator[tuple[str, str]]:
    """File name and content, for every kind."""
    for kind, (walk, count) in KINDS.items():
        rng = SplitMix64(0xC0DE)
        lines = [json.dumps(walk(number, rng), separators=(",", ":")) for number in range(count)]
        yield f"{kind}-generated.jsonl", "\n".join(lines) + "\n"


if __name__ == "__main__":
    for name, content in generated():
        (FOLDER / name).write_text(content)
