"""What a person sees while a run is under way: one line that is redrawn on a terminal, plain lines elsewhere.

Everything goes to stderr; stdout belongs to results.
"""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Sequence
from typing import TextIO

from crossfade.harness.samples import METRICS, Block


class Progress:
    """Counts blocks, guesses what is left from the estimate and the pace so far."""

    def __init__(self, total: int, estimate_s: float, stream: TextIO | None = None) -> None:
        self.total = total
        self.estimate_s = estimate_s
        self.stream = stream if stream is not None else sys.stderr
        self.live = self.stream.isatty()
        self.done = 0
        self.expected_done_s = 0.0
        self.begin = time.monotonic()

    def say(self, text: str) -> None:
        """A line that stays."""
        self._clear()
        self.stream.write(text + "\n")
        self.stream.flush()

    def starting(self, what: str) -> None:
        """A block begins; drawn on a terminal only."""
        if self.live:
            width = shutil.get_terminal_size().columns - 1
            line = f"[{self.done}/{self.total}] {what}  {self.left()}"
            self.stream.write("\r\x1b[2K" + line[:width])
            self.stream.flush()

    def finished(self, block: Block, expected_s: float, headline: Sequence[str] = ()) -> None:
        """A block ended; ``headline`` names what it was measured for. Failures stay on the screen."""
        self.done += 1
        self.expected_done_s += expected_s
        what = f"{block.scenario} round {block.round + 1} {block.variant}"
        line = f"[{self.done}/{self.total}] {what}: {outcome(block, headline)}"
        if not self.live:
            self.say(f"{line}  {self.left()}")
        elif block.status != "ok":
            self.say(line)

    def left(self) -> str:
        """Time left: the estimate, scaled by how wrong it has been so far."""
        spent = time.monotonic() - self.begin
        pace = spent / self.expected_done_s if self.expected_done_s > 0 else 1.0
        remaining = max(0.0, self.estimate_s - self.expected_done_s) * pace
        return f"about {duration(remaining)} left"

    def close(self) -> None:
        """Leave the line to the next writer."""
        self._clear()

    def _clear(self) -> None:
        if self.live:
            self.stream.write("\r\x1b[2K")


def outcome(block: Block, headline: Sequence[str] = ()) -> str:
    """One block in a few words: two of its figures, of the headline first."""
    if block.status != "ok":
        return f"{block.status.upper()}: {block.error}"
    names = [name for name in dict.fromkeys((*headline, *METRICS)) if name in block.metrics][:2]
    shown = []
    for name in names:
        value, metric = block.metrics[name], METRICS[name]
        shown.append(f"{metric.title} {value:{',.4g' if value < 1000 else ',.0f'}} {metric.unit}")
    return ", ".join(shown)


def duration(seconds: float) -> str:
    """``45 s`` or ``3 min 20 s``."""
    whole = round(seconds)
    return f"{whole} s" if whole < 90 else f"{whole // 60} min {whole % 60:02d} s"
