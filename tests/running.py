"""Which processes are there, from ``/proc``: for tests that nothing is left behind."""

from __future__ import annotations

import re
from pathlib import Path

from crossfade.harness.cpuclock import children


def running(pattern: str) -> list[str]:
    """Command lines, words joined by spaces, in which the regular expression is found."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if re.search(pattern, line):
                found.append(line)
    return found


def below(pid: int) -> set[int]:
    """All descendants."""
    found: set[int] = set()
    waiting = [pid]
    while waiting:
        fresh = set(children(waiting.pop())) - found
        found |= fresh
        waiting += fresh
    return found


def alive(pid: int) -> bool:
    """Whether it is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
