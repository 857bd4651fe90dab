"""What a compiled policy costs before its first decision: one process, from nothing to one decision of each kind.

``python -m crossfade.harness.compiling`` imports numba's cores, takes every policy decision once, then all of them
again, and prints ``{"event": "compiled", "first_ms", "again_ms"}``. With an empty ``NUMBA_CACHE_DIR`` the first pass is
cold, in the next process it is cached; the second pass is warm (method rule 7).
"""

from __future__ import annotations

import importlib
import time

import msgspec

from crossfade.harness.policy import CORE_OPS

MODULE = "crossfade.impls.cores_numba.bench_ops"


def decide() -> float:
    """Milliseconds for one decision of every kind, the import of what decides included if it is the first time."""
    begin = time.perf_counter()
    prepare = importlib.import_module(MODULE).prepare
    for op, sizes in CORE_OPS.items():
        prepare(op, 1, sizes[0])()
    return (time.perf_counter() - begin) * 1000


def main() -> None:
    """Both passes, as one line."""
    told = {"event": "compiled", "first_ms": decide(), "again_ms": decide()}
    print(msgspec.json.encode(told).decode(), flush=True)  # noqa: T201 - the harness reads it


if __name__ == "__main__":
    main()
