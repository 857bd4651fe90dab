"""The last cross-check of a machine, beside its results: ``<root>/crosscheck.json``.

The rule: a part that is measured again replaces that part alone, and only of the same machine and build.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from crossfade.harness.crosscheck.record import CrossCheck
from crossfade.harness.store import replace

if TYPE_CHECKING:  # samples hold a cross-check
    from crossfade.harness.samples import Environment

FILE = "crosscheck.json"


def last(root: Path) -> CrossCheck | None:
    """What is there, or None if there is nothing that can be read."""
    try:
        return msgspec.json.decode((root / FILE).read_bytes(), type=CrossCheck)
    except (OSError, msgspec.DecodeError):
        return None


def machine(described: Environment) -> str:
    """Which machine, in words that two runs on it share."""
    return f"{described.cpu.model}, {described.hostname_hash}"


def of(root: Path, described: Environment) -> CrossCheck | None:
    """The last one, if it is this machine's."""
    found = last(root)
    return found if found is not None and found.machine == machine(described) else None


def keep(found: CrossCheck, root: Path) -> CrossCheck:
    """Write it, with the other parts that are there already; returns what was written. Raises BrokenResults."""
    before = last(root)
    if before is not None and (before.machine, before.native) == (found.machine, found.native):
        parts = {p: getattr(found, p) or getattr(before, p) for p in ("generators", "stalls", "arena", "large")}
        found = msgspec.structs.replace(found, **parts)
    replace(root / FILE, msgspec.json.format(msgspec.json.encode(found), indent=1) + b"\n")
    return found
