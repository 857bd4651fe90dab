"""Owns the containers of a table: doubly linked lists, a map from ids to slots, and a heap, all rows of one array.

Why not numba's typed dict and list: each takes seconds to compile and would be one argument more.

Row 0 of a table is its header. A list is two header fields (``head``, then ``tail``) and two rows (previous, next); a
slot that is not in it has ``OUT`` as its previous. The map is open addressing with linear probing in one row, slot + 1
at each place, which stays at most a quarter full because a table has four columns for each slot.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from crossfade.impls.cores_numba.jit import Ints, part

HEADER: Final = 0
END: Final = -1
OUT: Final = -2

_SPREAD = np.uint64(0x9E3779B97F4A7C15)
_32 = np.uint64(32)


@part("void(int64[:, ::1], int64, int64, int64)")
def link(s: Ints, head: int, row: int, slot: int) -> None:
    """Append the slot to a list."""
    last = s[HEADER, head + 1]
    s[row, slot] = last
    s[row + 1, slot] = END
    if last == END:
        s[HEADER, head] = slot
    else:
        s[row + 1, last] = slot
    s[HEADER, head + 1] = slot


@part("void(int64[:, ::1], int64, int64, int64)")
def unlink(s: Ints, head: int, row: int, slot: int) -> None:
    """Take the slot out of a list, if it is in it."""
    before, after = s[row, slot], s[row + 1, slot]
    if before == OUT:
        return
    if before == END:
        s[HEADER, head] = after
    else:
        s[row + 1, before] = after
    if after == END:
        s[HEADER, head + 1] = before
    else:
        s[row, after] = before
    s[row, slot] = OUT


@part("int64(int64[:, ::1], int64)")
def _place(s: Ints, key: int) -> int:
    """Where the map looks for a key first."""
    return int(np.int64(np.uint64(key) * _SPREAD >> _32) & (s.shape[1] - 1))


@part("int64(int64[:, ::1], int64, int64, int64)")
def find(s: Ints, index: int, ids: int, key: int) -> int:
    """The slot whose id, in row ``ids``, is ``key``, or -1."""
    mask = s.shape[1] - 1
    place = _place(s, key)
    while s[index, place]:
        slot = s[index, place] - 1
        if s[ids, slot] == key:
            return int(slot)
        place = (place + 1) & mask
    return -1


@part("void(int64[:, ::1], int64, int64, int64)")
def enter(s: Ints, index: int, ids: int, slot: int) -> None:
    """Put the slot into the map under its id, which is not in it."""
    mask = s.shape[1] - 1
    place = _place(s, s[ids, slot])
    while s[index, place]:
        place = (place + 1) & mask
    s[index, place] = slot + 1


@part("void(int64[:, ::1], int64, int64, int64)")
def leave(s: Ints, index: int, ids: int, slot: int) -> None:
    """Take the slot out of the map; what was pushed aside by it moves back, so that no tombstones are needed."""
    mask = s.shape[1] - 1
    hole = _place(s, s[ids, slot])
    while s[index, hole] != slot + 1:
        hole = (hole + 1) & mask
    place = (hole + 1) & mask
    while s[index, place]:
        home = _place(s, s[ids, s[index, place] - 1])
        if (place - home) & mask >= (place - hole) & mask:
            s[index, hole] = s[index, place]
            hole = place
        place = (place + 1) & mask
    s[index, hole] = 0


@part("boolean(int64[:, ::1], int64, int64, int64)")
def _before(s: Ints, by: int, a: int, b: int) -> bool:
    """Whether slot a comes before slot b: by row ``by``, then by the row after it."""
    return bool(s[by, a] < s[by, b] or (s[by, a] == s[by, b] and s[by + 1, a] < s[by + 1, b]))


@part("void(int64[:, ::1], int64, int64, int64, int64)")
def _settle(s: Ints, row: int, by: int, size: int, slot: int) -> None:
    """Put the slot at its position ``s[row + 1, slot]`` or where order wants it, up or down from there."""
    at = s[row + 1, slot]
    while at and _before(s, by, slot, s[row, (at - 1) >> 1]):
        parent = (at - 1) >> 1
        s[row, at] = s[row, parent]
        s[row + 1, s[row, at]] = at
        at = parent
    while True:
        child = 2 * at + 1
        if child >= size:
            break
        if child + 1 < size and _before(s, by, s[row, child + 1], s[row, child]):
            child += 1
        if not _before(s, by, s[row, child], slot):
            break
        s[row, at] = s[row, child]
        s[row + 1, s[row, at]] = at
        at = child
    s[row, at] = slot
    s[row + 1, slot] = at


@part("void(int64[:, ::1], int64, int64, int64, int64)")
def heap_push(s: Ints, size: int, row: int, by: int, slot: int) -> None:
    """Add the slot to the heap in ``row``, whose size is header field ``size``; ``row + 1`` holds positions."""
    s[row + 1, slot] = s[HEADER, size]
    s[HEADER, size] += 1
    _settle(s, row, by, s[HEADER, size], slot)


@part("void(int64[:, ::1], int64, int64, int64, int64)")
def heap_remove(s: Ints, size: int, row: int, by: int, slot: int) -> None:
    """Take a slot that is in the heap out of it."""
    at = s[row + 1, slot]
    s[HEADER, size] -= 1
    last = s[row, s[HEADER, size]]
    if last != slot:
        s[row + 1, last] = at
        _settle(s, row, by, s[HEADER, size], last)
