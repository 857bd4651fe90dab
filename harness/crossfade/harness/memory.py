"""Memory of a process: the proportional set size, from ``smaps_rollup``.

PSS bills shared pages to their users in equal parts, so that forked workers and shared libraries are not counted twice.
Reading it stops the process for a moment: never inside a timed window (method rule 15).
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path

import msgspec


class Memory(msgspec.Struct, frozen=True):
    """KiB. ``own_kib`` is the share of ``pss_kib`` in no file: memory of its own, but for what forks share."""

    pss_kib: float
    rss_kib: float
    own_kib: float | None = None


def parse_rollup(text: str) -> Memory:
    """The figures out of the text of ``smaps_rollup``. Raises ValueError if one of the first two is missing."""
    found: dict[str, float] = {}
    for line in text.splitlines():
        key, _, rest = line.partition(":")
        if key in ("Pss", "Rss", "Pss_Anon", "Pss_Shmem"):
            found[key] = float(rest.split()[0])
    if not {"Pss", "Rss"} <= found.keys():
        raise ValueError("smaps_rollup holds no Pss and Rss; a kernel since 4.14 is needed to measure memory")
    own = found["Pss_Anon"] + found.get("Pss_Shmem", 0.0) if "Pss_Anon" in found else None
    return Memory(found["Pss"], found["Rss"], own)


def read(pids: Iterable[int]) -> Memory:
    """Memory of one or more processes together. Raises ProcessLookupError if one is gone."""
    each = [_read_one(pid) for pid in pids]
    owns = [one.own_kib for one in each if one.own_kib is not None]
    return Memory(
        sum(one.pss_kib for one in each),
        sum(one.rss_kib for one in each),
        sum(owns) if len(owns) == len(each) else None,
    )


def _read_one(pid: int) -> Memory:
    try:
        return parse_rollup(Path(f"/proc/{pid}/smaps_rollup").read_text())
    except (OSError, ValueError) as error:
        raise ProcessLookupError(f"memory of process {pid} cannot be read ({error})") from error


def settled(pids: list[int], *, settle_s: float, tries: int = 20, tolerance_kib: float = 16.0) -> Memory:
    """Memory once two readings ``settle_s`` apart agree within ``tolerance_kib``, or the last of ``tries``."""
    last = read(pids)
    for _ in range(tries):
        time.sleep(settle_s)
        now = read(pids)
        if abs(now.pss_kib - last.pss_kib) <= tolerance_kib:
            return now
        last = now
    return last
