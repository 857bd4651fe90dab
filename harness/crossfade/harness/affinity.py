"""Which processor runs what: variant apart from fleet and load.

The rule: the parent pins itself for the instant of a spawn, so that a child and all its threads inherit the mask before
their first instruction; nothing is moved later. ``python -m crossfade.harness.affinity CPU -- COMMAND`` does the same
for a child that the variant starts itself (a stdio upstream), which would otherwise share the variant's processor.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import msgspec


class Placement(msgspec.Struct, frozen=True):
    """Processors of each side; None leaves the scheduler alone (fewer than two processors, or no such call)."""

    variant: frozenset[int] | None
    rest: frozenset[int] | None

    def describe(self) -> str:
        """One sentence for the report."""
        if self.variant is None or self.rest is None:
            return "not pinned: variant, fleet and load share what there is, so treat ratios with care"
        rest = ", ".join(map(str, sorted(self.rest)))
        return f"variant on CPU {', '.join(map(str, sorted(self.variant)))}; fleet and load share CPU {rest}"


def available() -> tuple[int, ...]:
    """Processors this process may use, in order."""
    if hasattr(os, "sched_getaffinity"):
        return tuple(sorted(os.sched_getaffinity(0)))
    return tuple(range(os.cpu_count() or 1))


def place(cpus: tuple[int, ...]) -> Placement:
    """The variant gets the first processor, fleet and load the second (and third, where there is one)."""
    if len(cpus) < 2 or not hasattr(os, "sched_setaffinity"):
        return Placement(None, None)
    return Placement(frozenset(cpus[:1]), frozenset(cpus[1:3]))


@contextmanager
def pinned(cpus: frozenset[int] | None) -> Iterator[None]:
    """Run the body on ``cpus``; children started in it stay there."""
    if cpus is None:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _main(argv: list[str]) -> NoReturn:
    if len(argv) < 3 or argv[1] != "--" or not all(c.isdecimal() for c in argv[0].split(",")):
        sys.stderr.write("usage: python -m crossfade.harness.affinity CPU[,CPU] -- COMMAND [ARGUMENT ...]\n")
        sys.exit(64)
    os.sched_setaffinity(0, [int(c) for c in argv[0].split(",")])
    os.execvp(argv[2], argv[2:])  # noqa: S606 - replacing this process is the point


if __name__ == "__main__":
    _main(sys.argv[1:])
