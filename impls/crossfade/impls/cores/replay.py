"""Owns the wire form of the cores: one step in, one JSON value out, as ``impls/vectors/SCHEMA.md`` says.

Rule: it only translates. ``impls/rust/core/src/replay.rs`` is its twin, and whatever replays one replays the other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from crossfade.impls.cores.actions import PoolConfig
from crossfade.impls.cores.balancer import P2C, Balancer
from crossfade.impls.cores.breaker import Breaker, BreakerConfig
from crossfade.impls.cores.cache import Cache, CacheConfig
from crossfade.impls.cores.pool import Pool
from crossfade.impls.cores.rendezvous import Rendezvous
from crossfade.impls.cores.replay_life import LIFE_KINDS
from crossfade.impls.cores.replay_path import PATH_KINDS, Step, actions_of
from crossfade.impls.cores.rng import SplitMix64
from crossfade.impls.cores.rollout import Rollout
from crossfade.impls.cores.rollout_plan import RolloutConfig
from crossfade.impls.cores.turns import LeastPending, RoundRobin, Weighted


class Replayer:
    """One core of the named kind. Raises KeyError for a kind or an operation that SCHEMA.md does not list."""

    def __init__(self, kind: str, config: Mapping[str, Any], seed: int = 0) -> None:
        self._ops: dict[str, Step] = _KINDS[kind](config, seed)

    def step(self, at_ns: int, op: str, args: Sequence[Any] = ()) -> Any:
        """Perform one operation; the answer is a JSON value."""
        return self._ops[op](at_ns, *args)


def _rng(_config: Mapping[str, Any], seed: int) -> dict[str, Step]:
    rng = SplitMix64(seed)
    return {"next_u64": lambda _now: rng.next_u64(), "below": lambda _now, n: rng.below(n)}


def _breaker(config: Mapping[str, Any], _seed: int) -> dict[str, Step]:
    breaker = Breaker(BreakerConfig(**config))
    return {
        "admit": breaker.admit,
        "record": breaker.record,
        "forget": breaker.forget,
        "state": lambda now: breaker.state(now).value,
        "retry_after_ns": breaker.retry_after_ns,
    }


def _balancer(balancer: Balancer) -> dict[str, Step]:
    # `usable` travels as a string of 0 and 1, instance 0 first: readable, and any number of instances fits.
    return {
        "pick": lambda now, usable, key=0: balancer.pick(now, int(usable[::-1] or "0", 2), key),
        "started": lambda _now, i: balancer.started(i),
        "finished": lambda now, i, latency_ns, ok: balancer.finished(i, now, latency_ns, ok),
        "cancelled": lambda _now, i: balancer.cancelled(i),
        "pending": lambda _now, i: balancer.pending(i),
        "ewma_ns": lambda _now, i: balancer.ewma_ns(i),
        "resize": lambda _now, n: balancer.resize(n),
    }


def _pool(config: Mapping[str, Any], _seed: int) -> dict[str, Step]:
    pool = Pool(PoolConfig(**config))

    waiting = (pool.acquire, pool.cancel, pool.release, pool.tick)
    acting = (*waiting, pool.connected, pool.connect_failed, pool.lost, pool.drain, pool.start, pool.resize)
    return {
        **{method.__name__: actions_of(method) for method in acting},
        "try_acquire": pool.try_acquire,
        "take": lambda _now, waiter: pool.take(waiter),
        "next_deadline_ns": lambda _now: pool.next_deadline_ns(),
        "counts": lambda _now: [pool.open, pool.connecting, pool.in_use, pool.waiting, pool.untaken],
    }


def _rollout(config: Mapping[str, Any], _seed: int) -> dict[str, Step]:
    rollout = Rollout(RolloutConfig(**{**config, "steps_percent": tuple(config["steps_percent"])}))
    reports = (rollout.begin, rollout.ready, rollout.start_failed, rollout.stopped, rollout.revived)
    judged = (rollout.sample, rollout.compared, rollout.abort, rollout.tick)
    return {
        **{method.__name__: method for method in (*reports, *judged)},
        "next_deadline_ns": lambda _now: rollout.next_deadline_ns(),
        "phase": lambda _now: rollout.phase,
        "counts": lambda _now: [
            rollout.share,
            rollout.starting,
            rollout.ready_new,
            rollout.old_live,
            rollout.retiring,
            rollout.samples,
            rollout.failures,
        ],
    }


def _cache(config: Mapping[str, Any], _seed: int) -> dict[str, Step]:
    cache: Cache[int, bool] = Cache(CacheConfig(**config))
    return {
        "put": lambda now, key, size, ttl_ns: cache.put(now, key, True, size, ttl_ns),
        "get": lambda now, key: cache.get(now, key) is not None,
        "remove": lambda _now, key: cache.remove(key),
        "keys": lambda _now: cache.keys(),
        "counts": lambda _now: [len(cache), cache.bytes],
    }


_KINDS: dict[str, Callable[[Mapping[str, Any], int], dict[str, Step]]] = {
    "rng": _rng,
    "breaker": _breaker,
    "round_robin": lambda config, _seed: _balancer(RoundRobin(config["instances"])),
    "weighted": lambda config, _seed: _balancer(Weighted(config["weights"])),
    "least_pending": lambda config, _seed: _balancer(LeastPending(config["instances"])),
    "rendezvous": lambda config, _seed: _balancer(Rendezvous(config["instances"])),
    "p2c": lambda config, seed: _balancer(P2C(config["instances"], seed)),
    "pool": _pool,
    "cache": _cache,
    "rollout": _rollout,
    **LIFE_KINDS,
    **PATH_KINDS,
}
