"""Owns which instances of a server take calls while one revision gives way to another, and which one takes the next.

Rules: an instance that leaves is known until it is closed, so that its deadlines run and nobody forgets to end it; and
a candidate gets its share of the calls exactly, whatever the callers' rhythm.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from crossfade.impls.python.instance import Instance
    from crossfade.impls.python.revision import Revision
    from crossfade.impls.python.shadow import Shadow

_GOLDEN: Final = 0x9E3779B97F4A7C15
_U64: Final = (1 << 64) - 1


class Routing:
    """The revisions of a server: ``current``, and a ``candidate`` with ``share`` percent of the calls.

    ``instances`` is everybody there is. ``only`` is the one instance if nothing is to be chosen; ``straight`` says that
    neither an update nor ``spanned`` (spans) wants to see every call. ``held`` is set while calls wait.
    """

    __slots__ = (
        "_leaving",
        "_turn",
        "candidate",
        "current",
        "held",
        "instances",
        "judge",
        "only",
        "shadow",
        "share",
        "spanned",
        "straight",
    )

    def __init__(self) -> None:
        self.current: Revision
        self.candidate: Revision | None = None
        self.share = 0
        self.instances: list[Instance] = []
        self.only: Instance | None = None
        self.held: asyncio.Event | None = None
        self.judge: Callable[[bool], None] | None = None
        self.shadow: Shadow | None = None
        self.spanned = False
        self.straight = True
        self._leaving: list[Instance] = []
        self._turn = 0

    def propose(self, revision: Revision | None) -> None:
        """A second revision, that gets ``share`` percent of the calls; None takes it back."""
        self.candidate, self.share = revision, 0
        self.rearranged()

    def rearranged(self) -> None:
        """Instances came, went, or changed their part in routing."""
        revisions = (self.current,) if self.candidate is None else (self.current, self.candidate)
        serving = [instance for revision in revisions for instance in revision.present()]
        self.only = serving[0] if len(serving) == 1 and self.candidate is None and self.current.live else None
        self.instances = serving + self._leaving

    def retire(self, instance: Instance) -> None:
        """No more calls to it; it stays known until it is ``gone``."""
        instance.retired = True
        self._leaving.append(instance)
        instance.revision.remove(instance)
        self.rearranged()

    def gone(self, instance: Instance) -> None:
        """It is closed."""
        if instance in self._leaving:
            self._leaving.remove(instance)
            self.rearranged()

    def hold(self, on: bool) -> None:
        """Let calls wait for the end of an update that leaves nobody to answer them, or let them go."""
        held, self.held = self.held, (self.held or asyncio.Event()) if on else None
        if held is not None and not on:
            held.set()
        self.watch(self.judge, self.shadow)

    def watch(self, judge: Callable[[bool], None] | None, shadow: Shadow | None) -> None:
        """Whom to tell of a candidate's answers, and who copies safe reads. Then no call goes the straight way."""
        self.judge, self.shadow = judge, shadow
        self.straight = judge is None and shadow is None and self.held is None and not self.spanned

    def pick(self, now_ns: int, tried: Sequence[Instance] = (), key: int = 0) -> Instance | None:
        """An instance that its breaker admits, none of those ``tried``; None if there is no other.

        By share among the revisions, evenly spread; one that admits nobody leaves its calls to the other. The turns are
        a Weyl sequence (multiples of the golden ratio): a count would fall into step with callers that take turns, too.
        """
        candidate = self.candidate
        if candidate is None or self.share == 0:
            return self.current.pick(now_ns, tried, key)
        self._turn = turn = (self._turn + _GOLDEN) & _U64
        if turn * 100 >> 64 >= self.share:
            return self.current.pick(now_ns, tried, key) or candidate.pick(now_ns, tried, key)
        return candidate.pick(now_ns, tried, key) or self.current.pick(now_ns, tried, key)
