"""Owns the wire form of the cores: one step in, one JSON value out, as ``impls/vectors/SCHEMA.md`` says.

Rule: it only translates, and makes every core through ``Cores``, so that a bundle in any language can be replayed.
``impls/rust/core/src/replay.rs`` is its twin, and whatever replays one replays the other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from crossfade.impls.cores.actions import PoolConfig
from crossfade.impls.cores.breaker import BreakerConfig
from crossfade.impls.cores.bundle import PYTHON_CORES, Cores
from crossfade.impls.cores.cache import Cache, CacheConfig
from crossfade.impls.cores.histogram import Histogram
from crossfade.impls.cores.replay_life import LIFE_KINDS
from crossfade.impls.cores.replay_path import PATH_KINDS, Step, actions_of
from crossfade.impls.cores.rollout import Rollout
from crossfade.impls.cores.rollout_plan import RolloutConfig


class Replayer:
    """One core of the named kind. Raises KeyError for a kind or an operation that SCHEMA.md does not list."""

    def __init__(self, kind: str, config: Mapping[str, Any], seed: int = 0, cores: Cores = PYTHON_CORES) -> None:
        self._ops: dict[str, Step] = _KINDS[kind](cores, config, seed)

    def step(self, at_ns: int, op: str, args: Sequence[Any] = ()) -> Any:
        """Perform one operation; the answer is a JSON value."""
        return self._ops[op](at_ns, *args)


def _rng(cores: Cores, _config: Mapping[str, Any], seed: int) -> dict[str, Step]:
    rng = cores.rng(seed)
    return {"next_u64": lambda _now: rng.next_u64(), "below": lambda _now, n: rng.below(n)}


def _breaker(cores: Cores, config: Mapping[str, Any], _seed: int) -> dict[str, Step]:
    breaker = cores.breaker(BreakerConfig(**config))
    return {
        "admit": breaker.admit,
        "record": breaker.record,
        "forget": breaker.forget,
        "state": lambda now: breaker.state(now).value,
        "retry_after_ns": breaker.retry_after_ns,
    }


def _balancer(kind: str, cores: Cores, config: Mapping[str, Any], seed: int) -> dict[str, Step]:
    weights = config.get("weights", ())
    balancer = cores.balancer(kind, config.get("instances", len(weights)), weights, seed)
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


def _pool(cores: Cores, config: Mapping[str, Any], _seed: int) -> dict[str, Step]:
    pool = cores.pool(PoolConfig(**config))

    waiting = (pool.acquire, pool.cancel, pool.release, pool.tick)
    acting = (*waiting, pool.connected, pool.connect_failed, pool.lost, pool.drain, pool.start, pool.resize)
    return {
        **{method.__name__: actions_of(method) for method in acting},
        "try_acquire": pool.try_acquire,
        "take": lambda _now, waiter: pool.take(waiter),
        "next_deadline_ns": lambda _now: pool.next_deadline_ns(),
        "counts": lambda _now: [pool.open, pool.connecting, pool.in_use, pool.waiting, pool.untaken],
    }


def _rollout(_cores: Cores, config: Mapping[str, Any], _seed: int) -> dict[str, Step]:
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


def _cache(_cores: Cores, config: Mapping[str, Any], _seed: int) -> dict[str, Step]:
    cache: Cache[int, bool] = Cache(CacheConfig(**config))
    return {
        "put": lambda now, key, size, ttl_ns: cache.put(now, key, True, size, ttl_ns),
        "get": lambda now, key: cache.get(now, key) is not None,
        "remove": lambda _now, key: cache.remove(key),
        "keys": lambda _now: cache.keys(),
        "counts": lambda _now: [len(cache), cache.bytes],
    }


def _histogram(_cores: Cores, _config: Mapping[str, Any], _seed: int) -> dict[str, Step]:
    histogram = Histogram()
    return {
        "record": lambda _now, ns: histogram.record(ns),
        "quantile_ns": lambda _now, per_mille: histogram.quantile_ns(per_mille),
        "below": lambda _now, octave: histogram.below(octave),
        "summary": lambda _now: list(histogram.summary().values()),
    }


_KINDS: dict[str, Callable[[Cores, Mapping[str, Any], int], dict[str, Step]]] = {
    "rng": _rng,
    "breaker": _breaker,
    **{kind: partial(_balancer, kind) for kind in ("round_robin", "weighted", "least_pending", "p2c", "rendezvous")},
    "pool": _pool,
    "cache": _cache,
    "histogram": _histogram,
    "rollout": _rollout,
    **LIFE_KINDS,
    **PATH_KINDS,
}
