"""What is stored about memory: rungs of a ladder, readings of a soak, and the kernel's share where it can be told.

The rule: every figure says whose memory it is. ``scope`` tells a cgroup of the target's own from the whole machine.
"""

from __future__ import annotations

from typing import Literal

import msgspec


class KernelMemory(msgspec.Struct, frozen=True, kw_only=True):
    """KiB of the kernel that came with a rung's connections: a difference to before they were opened.

    ``sock_kib`` are socket buffers, ``slab_kib`` the kernel's objects, ``kernel_kib`` all that the kernel charges.
    With ``scope`` ``machine`` both ends of every connection are in it, and whatever else the machine did meanwhile.
    """

    scope: Literal["cgroup", "machine"]
    sock_kib: float
    slab_kib: float | None = None
    kernel_kib: float | None = None

    def total_kib(self) -> float:
        """All of it, counted once: a cgroup's ``kernel_kib`` holds its slab and not its buffers."""
        rest = self.kernel_kib if self.kernel_kib is not None else self.slab_kib
        return self.sock_kib + (rest or 0.0)


class Rung(msgspec.Struct, frozen=True, kw_only=True):
    """Memory at one number of connections, one fresh process per rung. KiB, from ``smaps_rollup``.

    ``state`` tells idle connections from those with a call in flight. ``children_pss_kib`` is shown apart. ``own_kib``
    is the part of ``pss_kib`` in no file. It is there where everybody's share of the libraries would move more than
    what is counted: where the number of processes changes from rung to rung (stdio children), and where a rung is small
    (sessions). Such a ladder is a line through it.
    """

    connections: int
    state: Literal["idle", "in_flight"]
    pss_kib: float
    rss_kib: float
    children_pss_kib: float = 0.0
    own_kib: float | None = None
    kernel: KernelMemory | None = None

    def line_kib(self) -> float:
        """The figure that the ladder's line goes through."""
        return self.pss_kib if self.own_kib is None else self.own_kib


class SoakSample(msgspec.Struct, frozen=True, kw_only=True):
    """One reading of a soak: ``t_ms`` from the start of measuring, and the calls answered until then.

    The line goes through ``own_kib`` where the system tells it: another process that starts meanwhile and shares a
    library lowers ``pss_kib``, and that is no doing of the target's.
    """

    t_ms: float
    pss_kib: float
    calls: int
    own_kib: float | None = None

    def line_kib(self) -> float:
        """The figure that the soak's line goes through."""
        return self.pss_kib if self.own_kib is None else self.own_kib
