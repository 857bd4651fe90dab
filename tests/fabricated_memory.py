"""Fabricated blocks of what is told of memory: busy clients, stdio children, idle sessions, and soaks.

Truths: a child costs ``python`` 30 KiB of its own and ``rust`` 12, and holds 5,000 itself; a session costs 4.6 and 0.5;
and in the soak ``rust`` is steady while ``python`` leaks a KiB per call, whose blocks have failed.
"""

from __future__ import annotations

import random

from crossfade.harness.samples import KernelMemory, Rung, SoakSample

BASE_KIB = {"python": 24_000.0, "rust": 26_000.0, "nginx": 8_000.0}
BUSY_KIB = {"python": 9.0, "rust": 18.0, "nginx": 9.7}
CHILD_KIB = {"python": 30.0, "rust": 12.0}
SESSION_KIB = {"python": 4.6, "rust": 0.5}
LEAK_KIB = {"python": 1.0, "rust": 0.0}
"""Per call."""


def busy(rng: random.Random, name: str) -> dict[str, object]:
    """Clients with a call in flight each."""
    rungs = tuple(
        Rung(
            connections=n,
            state="in_flight",
            pss_kib=BASE_KIB[name] + BUSY_KIB[name] * n + rng.gauss(0, 40),
            rss_kib=1,
            kernel=KernelMemory(scope="machine", sock_kib=0.0, slab_kib=12.0 * n),
        )
        for n in (0, 200, 400, 800)
    )
    slope = BUSY_KIB[name] * rng.lognormvariate(0, 0.02)
    return {"metrics": {"slope_load_kib": slope, "machine_kernel_kib": 12.0}, "ladder": rungs}


def stdio(rng: random.Random, name: str) -> dict[str, object]:
    """Children: the manager's PSS falls with each, its own memory rises."""
    rungs: list[Rung] = []
    for n in (1, 4, 8, 16, 32):
        own = BASE_KIB[name] + CHILD_KIB[name] * n + rng.gauss(0, 5)
        more = {"rss_kib": 1.0, "own_kib": own, "children_pss_kib": 5000.0 * n}
        rungs.extend(
            Rung(connections=n, state=state, pss_kib=own + 9000 / (n + 2), **more)  # type: ignore[arg-type]
            for state in ("in_flight", "idle")
        )
    slope = CHILD_KIB[name] * rng.lognormvariate(0, 0.02)
    return {"metrics": {"slope_kib": slope, "slope_load_kib": slope, "child_kib": 5000.0}, "ladder": tuple(rungs)}


def sessions(rng: random.Random, name: str) -> dict[str, object]:
    """Sessions without a client."""
    rungs = tuple(
        Rung(connections=n, state="idle", pss_kib=BASE_KIB[name] + SESSION_KIB[name] * n + rng.gauss(0, 20), rss_kib=1)
        for n in (0, 250, 500, 1000)
    )
    return {"metrics": {"session_kib": SESSION_KIB[name] * rng.lognormvariate(0, 0.03)}, "ladder": rungs}


def soak(rng: random.Random, name: str) -> dict[str, object]:
    """A minute at 500 calls a second, read 80 times."""
    samples = tuple(
        SoakSample(
            t_ms=750.0 * (i + 1),
            calls=375 * (i + 1),
            own_kib=BASE_KIB[name] + LEAK_KIB[name] * 375 * i - 1500 * 0.7**i + rng.gauss(0, 25),
            pss_kib=BASE_KIB[name] + 3000,
        )
        for i in range(80)
    )
    body: dict[str, object] = {"metrics": {"soak_pss_mib": 30.0 * rng.lognormvariate(0, 0.01)}, "soak": samples}
    if LEAK_KIB[name]:
        body |= {
            "status": "failed",
            "error": "memory grows by 1e+03 KiB per 1,000 calls [999, 1001]; find out what is kept",
        }
    return body
