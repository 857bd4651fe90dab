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
    """KiB."""

    pss_kib: float
    rss_kib: float


def parse_rollup(text: str) -> Memory:
    """The two figures out of the text of ``smaps_rollup``. Raises ValueError if one is missing."""
    found: dict[str, float] = {}
    for line in text.splitlines():
        key, _, rest = line.partition(":")
        if key in ("Pss", "Rss"):
            found[key] = float(rest.split()[0])
    if len(found) != 2:
        raise ValueError("smaps_rollup holds no Pss and Rss; a kernel since 4.14 is needed to measure memory")
    return Memory(found["Pss"], found["Rss"])


def read(pids: Iterable[int]) -> Memory:
    """Memory of one or more processes together. Raises ProcessLookupError if one is gone."""
    pss = rss = 0.0
    for pid in pids:
        try:
            one = parse_rollup(Path(f"/proc/{pid}/smaps_rollup").read_text())
        except (OSError, ValueError) as error:
            raise ProcessLookupError(f"memory of process {pid} cannot be read ({error})") from error
        pss, rss = pss + one.pss_kib, rss + one.rss_kib
    return Memory(pss, rss)


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
