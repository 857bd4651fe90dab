"""Owns what a table's kernels noted, as the actions that a shell performs, and the growth of a table between steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, get_args

from crossfade.impls.cores.actions import Action, Close, CloseReason, Connect, Grant, Reject, RejectReason
from crossfade.impls.cores_numba import pool_table as t
from crossfade.impls.cores_numba.jit import Ints

_CLOSED: Final[Sequence[CloseReason]] = get_args(CloseReason)
_REJECTED: Final[Sequence[RejectReason]] = get_args(RejectReason)


def noted(s: Ints, count: int) -> list[Action]:
    """The first ``count`` actions of the step at hand."""
    found: list[Action] = []
    for kind, who, what in s[t.A_KIND : t.A_WHAT + 1, :count].T.tolist():
        if kind == t.GRANT:
            found.append(Grant(who, what))
        elif kind == t.CONNECT:
            found.append(Connect(who))
        elif kind == t.CLOSE:
            found.append(Close(who, _CLOSED[what - 1]))
        else:
            found.append(Reject(who, _REJECTED[what - 1]))
    return found


def larger(s: Ints, need: int) -> Ints:
    """The table, if it has slots for so many connections and so many waiters, else a larger one with its content."""
    slots = s.shape[1] >> 2
    if need <= slots:
        return s
    while slots < need:
        slots *= 2
    grown = t.new_table(slots)
    t.move(s, grown)
    return grown
