"""What a run costs besides measuring, clocked in the run itself.

Measuring is a block or the question of parity, from the start of its processes to their end, and the self-test.
Everything else is overhead: planning, statistics, writing, drawing. The rule: the harness's own processor time *while*
it measures (reading events, decoding histograms) is overhead too, although the load runs on meanwhile; and so is what
starting the command took.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

from crossfade.harness.executor import Executor, Task
from crossfade.harness.samples import Block, Overhead, Parity
from crossfade.scenarios import Scenario

P = ParamSpec("P")
R = TypeVar("R")


class Ledger:
    """The books of one run, opened when it begins. ``clock`` and ``cpu`` give seconds: the wall's, this process's."""

    def __init__(
        self, *, clock: Callable[[], float] = time.monotonic, cpu: Callable[[], float] = time.process_time
    ) -> None:
        self._clock, self._cpu = clock, cpu
        # Imports came before the first line of ours: their processor time is all that is known of them.
        self._begin = clock() - cpu()
        self._measuring_s = self._own_cpu_s = 0.0
        self._parts: dict[str, float] = {}

    @contextmanager
    def measuring(self) -> Iterator[None]:
        """The body measures."""
        wall, cpu = self._clock(), self._cpu()
        try:
            yield
        finally:
            self._measuring_s += self._clock() - wall
            self._own_cpu_s += self._cpu() - cpu

    def clocked(self, part: str, function: Callable[P, R]) -> Callable[P, R]:
        """``function``, whose time is booked under ``part``."""

        def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
            begin = self._clock()
            try:
                return function(*args, **kwargs)
            finally:
                self._parts[part] = self._parts.get(part, 0.0) + self._clock() - begin

        return wrapped

    def close(self) -> Overhead:
        """The books as they stand now."""
        return Overhead(
            run_s=round(self._clock() - self._begin, 3),
            measuring_s=round(self._measuring_s, 3),
            own_cpu_s=round(self._own_cpu_s, 3),
            parts={part: round(spent_s, 3) for part, spent_s in sorted(self._parts.items())},
        )


class Booked:
    """An executor whose blocks and questions are booked as measuring."""

    def __init__(self, executor: Executor, ledger: Ledger) -> None:
        self._executor, self._ledger = executor, ledger

    def block(self, task: Task) -> Block:
        """See :class:`Executor`."""
        with self._ledger.measuring():
            return self._executor.block(task)

    def in_turns(self, tasks: Sequence[Task]) -> list[Block]:
        """See :class:`Executor`."""
        with self._ledger.measuring():
            return self._executor.in_turns(tasks)

    def parity(self, scenario: Scenario, variants: tuple[str, ...]) -> Parity:
        """See :class:`Executor`."""
        with self._ledger.measuring():
            return self._executor.parity(scenario, variants)


def spent_s(found: Overhead) -> float:
    """Seconds of a run that measured nothing, the harness's own processor time while measuring included."""
    return found.run_s - found.measuring_s + found.own_cpu_s


def share(found: Overhead) -> float:
    """The same as a share of the run."""
    return spent_s(found) / found.run_s if found.run_s > 0 else 0.0


def describe(found: Overhead) -> str:
    """``2.1 s of 305 s besides measuring (0.7 %): ...``"""
    parts = [f"{seconds:.1f} s {part}" for part, seconds in found.parts.items()]
    parts.append(f"{found.own_cpu_s:.1f} s of its own processor while measuring")
    return f"{spent_s(found):.1f} s of {found.run_s:.0f} s besides measuring ({share(found):.1%}): {', '.join(parts)}"
