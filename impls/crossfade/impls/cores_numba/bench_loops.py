"""Owns the timed loops in numba itself: what an operation costs where no call from Python is in the way.

Rule: each loop is the twin of the one in ``cores.bench_ops``, ``bench_path`` or ``bench_choice``, over the table inside
a core that was prepared through its class. Only a bench imports this module, so no manager waits for its kernels.
"""

from __future__ import annotations

import numpy as np

from crossfade.impls.cores_numba import (
    breaker,
    bulkhead,
    health,
    hedge,
    limiter,
    p2c,
    pool_steps,
    rendezvous,
    restart,
    retry,
    shedder,
    turns,
)
from crossfade.impls.cores_numba.jit import Ints, Words, kernel, part
from crossfade.impls.cores_numba.lists import enter, find
from crossfade.impls.cores_numba.loads import PENDING, finish

_IDS, _INDEX = 0, 1


@part("int64(int64[:, ::1], int64, int64)")
def answer(s: Ints, i: int, k: int) -> int:
    """A call to instance i that is answered at once."""
    s[PENDING, i] += 1
    finish(s, i, k * 1000, 1_000_000 + i, True)
    return i


@kernel("int64(int64[:, ::1], int64)")
def pool_checkout(s: Ints, iterations: int) -> int:
    """``try_acquire`` and ``release``."""
    total = 0
    for k in range(iterations):
        conn = pool_steps.try_acquire(s)
        if conn >= 0:
            total += conn
            pool_steps.release(s, k * 1000, conn, True)
    return total


@kernel("int64(int64[:, ::1], int64)")
def breaker_calls(s: Ints, iterations: int) -> int:
    """``admit`` and ``record``, one failure in 16."""
    total = 0
    for k in range(iterations):
        now_ns = k * 1000
        if breaker.admit(s, 0, now_ns):
            total += 1
            breaker.record(s, 0, now_ns, now_ns & 0x3C00 != 0, 1000)
    return total


@kernel("int64(int64[:, ::1], uint64[::1], int64[::1], int64)")
def route(s: Ints, rng: Words, usable: Ints, iterations: int) -> int:
    """P2C: ``pick``, ``started``, ``finished``."""
    total = 0
    for k in range(iterations):
        i = p2c.pick(s, rng, usable, k * 1000)
        s[PENDING, i] += 1
        finish(s, i, k * 1000, 1_000_000 + i, True)
        total += i
    return total


@kernel("void(int64[:, ::1], uint64[::1])")
def fill_registry(s: Ints, hashes: Words) -> None:
    """A map from the hash of a name to the server's number."""
    for i in range(hashes.size):
        s[_IDS, i] = np.int64(hashes[i])
        enter(s, _INDEX, _IDS, i)


@kernel("int64(int64[:, ::1], uint64[::1], int64)")
def registry_lookup(s: Ints, hashes: Words, iterations: int) -> int:
    """One server by the hash of its name: there is no text in a kernel."""
    total = 0
    for k in range(iterations):
        total += find(s, _INDEX, _IDS, np.int64(hashes[k % hashes.size]))  # type: ignore[arg-type]  # our int
    return total


@kernel("int64(int64[:, ::1], int64, int64)")
def rate_limit(s: Ints, size: int, iterations: int) -> int:
    """``admit`` of ``size`` keys in turn."""
    total = 0
    for k in range(iterations):
        if limiter.admit_key(s, k * 1000, k % size) == 0:
            total += 1
    return total


@kernel("int64(int64[:, ::1], int64)")
def bulkhead_places(s: Ints, iterations: int) -> int:
    """``try_acquire`` and ``release``."""
    total = 0
    for k in range(iterations):
        if bulkhead.try_acquire(s):
            total += 1
            bulkhead.release(s, k * 1000)
    return total


@kernel("int64(int64[:, ::1], uint64[::1], int64)")
def retries(s: Ints, rng: Words, iterations: int) -> int:
    """``request`` and ``next``."""
    total = 0
    for _ in range(iterations):
        retry.request(s, 0)
        if retry.next_delay(s, rng, 0, 1) >= 0:
            total += 1
    return total


@kernel("int64(int64[::1], int64, int64)")
def hedges(s: Ints, size: int, iterations: int) -> int:
    """``request``, ``delay_ns`` and ``try_start`` of one in 16, ``record``."""
    total = 0
    for k in range(iterations):
        hedge.request(s)
        if k % 16 == 0 and hedge.delay(s) >= 0 and hedge.try_start(s):
            total += 1
        hedge.record(s, 1_000_000 + k % size * 10_000)
    return total


@kernel("int64(int64[::1], int64, int64)")
def shed(s: Ints, size: int, iterations: int) -> int:
    """``admit`` and ``waited`` behind a standing queue."""
    total = 0
    for k in range(iterations):
        if shedder.admit(s, k * 1000, size - 1):
            total += 1
            shedder.waited(s, k * 1000, 6_000_000)
    return total


@kernel("int64(int64[:, ::1], int64)")
def verdicts(s: Ints, iterations: int) -> int:
    """One verdict on an instance, every sixteenth of them bad."""
    total = 0
    for k in range(iterations):
        if health.record(s, 0, k * 1000 & 0x3C00 != 0):
            total += 1
    return total


@kernel("int64(int64[:, ::1], int64[::1], int64)")
def round_robin(s: Ints, usable: Ints, iterations: int) -> int:
    """``pick``, ``started``, ``finished``; so in the three that follow."""
    total = cursor = 0
    for k in range(iterations):
        i = turns.next_usable(usable, cursor)
        cursor = i + 1
        total += answer(s, i, k)
    return total


@kernel("int64(int64[:, ::1], int64[::1], int64)")
def weighted(s: Ints, usable: Ints, iterations: int) -> int:
    total = 0
    for k in range(iterations):
        total += answer(s, turns.richest(s, usable), k)
    return total


@kernel("int64(int64[:, ::1], int64[::1], int64)")
def least_pending(s: Ints, usable: Ints, iterations: int) -> int:
    total = cursor = 0
    for k in range(iterations):
        i = turns.idlest(s, usable, cursor)
        cursor = i + 1
        total += answer(s, i, k)
    return total


@kernel("int64(int64[:, ::1], uint64[::1], int64[::1], int64)")
def placed(s: Ints, salts: Words, usable: Ints, iterations: int) -> int:
    """Rendezvous, another key every time."""
    total = 0
    for k in range(iterations):
        total += answer(s, rendezvous.pick(salts, usable, k * 1000), k)
    return total


@kernel("int64(int64[:, ::1], uint64[::1], int64)")
def exits(s: Ints, rng: Words, iterations: int) -> int:
    """``exited`` of a child that never lives long."""
    total = 0
    for k in range(iterations):
        delay_ns = restart.after_exit(s, rng, k * 1000, 0)
        if delay_ns >= 0:
            total += delay_ns
    return total
