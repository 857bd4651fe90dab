"""The flaws: a share of every call's processor time, and a tail.

The rule: the honest one runs a flaw's code, with nothing planted.
"""

from __future__ import annotations

import asyncio
import functools
import itertools
import math
import time
from collections import deque
from collections.abc import Callable

from crossfade.harness.planted import HONEST
from crossfade.harness.planted.relay import Client, Relay

SLOWER = 0.05
TAIL_EVERY, TAIL_S = 50, 0.010


class Circling(Relay):
    """Turns in a circle, so that a call costs ``share`` more processor time than it would; an honest one never turns.

    How long a turn has to be, its own effect says: spells of ``SPELL`` calls without a turn and spells with one of
    twice the length follow each other, and the clock that the ruler reads tells what either cost. The effect holds all
    that a longer call brings with it (whoever waits for it sleeps, and has to be woken), and it follows a machine that
    changes its speed. Effect grows with length, so that the last pairs of spells together say how much one step does;
    a quarter of them at either end is left out, in which somebody else had the processor. The honest one does all of
    that, too, with turns of no length.
    """

    SPELL, KEPT, FEW, FIRST, LONGEST = 128, 512, 16, 100.0, 200_000.0

    def __init__(self, upstream: str, share: float = 0.0, clock: Callable[[], int] = time.process_time_ns) -> None:
        super().__init__(upstream)
        self.share = share
        self.length = self.FIRST if share else 0.0
        self._clock = clock
        self._steps: deque[tuple[float, int]] = deque(maxlen=self.KEPT)
        self._pairs = self._calls = self._turn = self._without_ns = 0
        self._since_ns = clock()
        self._disturbed = False

    def connected(self, client: Client) -> None:
        """A connection costs what no call does."""
        self._disturbed = True

    def asked(self, request: bytes, client: Client) -> bytes | None:
        """Turn, in every second spell."""
        circle(self._turn)
        self._calls += 1
        if self._calls == self.SPELL:
            self._without_ns, self._turn = self._clock() - self._since_ns, round(2 * self.length)
            self._since_ns += self._without_ns
        elif self._calls == 2 * self.SPELL:
            self._paired()
        return None

    def _paired(self) -> None:
        with_ns = self._clock() - self._since_ns
        if not self._disturbed and self._without_ns > 0:
            self._steps.append((with_ns / self._without_ns - 1, self._turn))
            self._pairs += 1
            if self._pairs % self.FEW == 0:
                self._adjust()
        self._turn = self._calls = 0
        self._since_ns, self._disturbed = self._clock(), False

    def _adjust(self) -> None:
        by_step = sorted(self._steps, key=lambda pair: pair[0] / max(1, pair[1]))
        cut = len(by_step) // 4
        effect, steps = map(math.fsum, zip(*by_step[cut : len(by_step) - cut], strict=True))
        # In a first moment of noise an effect may be none, or less.
        most = min(self.LONGEST, 2 * self.length)
        self.length = min(most, self.share * steps / effect) if effect > 0 else most


def circle(length: int) -> None:
    """Work that grows with ``length`` and has no other effect."""
    # Not even an allocation: those of a range cost twice as much whenever they straddle two pools of the allocator.
    for _ in itertools.repeat(None, length):
        pass


class Tail(Circling):
    """Keeps every fiftieth answer for a moment. The others never wait for it."""

    def answered(self, request: bytes, answer: bytes, client: Client) -> None:
        """Now or later."""
        self.calls += 1
        if self.calls % TAIL_EVERY:
            client.write(answer)
        else:
            asyncio.get_running_loop().call_later(TAIL_S, client.write, answer)


FLAWS: dict[str, Callable[[str], Relay]] = {
    HONEST: Circling,
    "twin": Circling,
    "slow": functools.partial(Circling, share=SLOWER),
    "tail": Tail,
}
