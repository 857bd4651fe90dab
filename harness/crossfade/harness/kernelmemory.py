"""Kernel memory of connections: from a cgroup of the target's own, or from the whole machine, and it says which.

A cgroup is made only where the user hands one over: ``CROSSFADE_CGROUP`` names a directory of cgroup v2 with the memory
controller in which this user may make others and no process runs (docs/method.md says how). The rule: nothing is
written anywhere else, and a figure of the machine never passes for one of the target.
"""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec

from crossfade.harness.memorysamples import KernelMemory

VARIABLE = "CROSSFADE_CGROUP"
PAGE_KIB = os.sysconf("SC_PAGE_SIZE") / 1024
SOCKET_SLABS = ("TCP", "TCPv6", "sock_inode_cache", "filp")
"""The kernel's own objects of an open TCP connection, by slab cache."""
PREFIX = "crossfade-"
_number = itertools.count()


class Meter(msgspec.Struct, frozen=True):
    """Kernel memory since the meter was made. ``note`` says whose it is, for the report."""

    look: Callable[[], KernelMemory]
    before: KernelMemory
    note: str

    def grown(self) -> KernelMemory:
        """What has come since."""
        now = self.look()
        return KernelMemory(
            scope=now.scope,
            sock_kib=now.sock_kib - self.before.sock_kib,
            slab_kib=_less(now.slab_kib, self.before.slab_kib),
            kernel_kib=_less(now.kernel_kib, self.before.kernel_kib),
        )


def meter(pids: Iterable[int], *, proc: Path = Path("/proc")) -> Meter | None:
    """A meter for processes whose connections are still to come; None where the system shows nothing at all."""
    named = os.environ.get(VARIABLE)
    why = f"{VARIABLE} names no cgroup"
    if named:
        try:
            own = into_cgroup(Path(named), pids)
            return Meter(lambda: of_cgroup(own), of_cgroup(own), "kernel memory: of a cgroup of the target's own")
        except (OSError, ValueError) as error:
            why = f"{VARIABLE}={named} cannot be used: {error}"
    try:
        before = of_machine(proc)
    except (OSError, ValueError):
        return None
    note = f"kernel memory: of the whole machine, both ends of every connection, for {why}"
    return Meter(lambda: of_machine(proc), before, note)


def into_cgroup(base: Path, pids: Iterable[int]) -> Path:
    """A new cgroup below ``base`` with these processes in it. Raises OSError or ValueError.

    Memory is charged to it from now on. It can be removed when they have ended: the next one, or the end, does so.
    """
    if "memory" not in (base / "cgroup.controllers").read_text().split():
        raise ValueError("it has no memory controller of cgroup v2")
    remove_empty(base)
    with contextlib.suppress(OSError):  # it is there already, or the reading below fails and says so
        (base / "cgroup.subtree_control").write_text("+memory")
    own = base / f"{PREFIX}{os.getpid()}-{next(_number)}"
    own.mkdir()
    try:
        of_cgroup(own)
        for pid in pids:
            (own / "cgroup.procs").write_text(str(pid))
    except (OSError, ValueError):
        remove_empty(base)
        raise
    return own


def remove_empty(base: Path) -> None:
    """Remove those of ours in which nothing runs any more."""
    for old in base.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):
            old.rmdir()


def of_cgroup(path: Path) -> KernelMemory:
    """From ``memory.stat``: ``sock`` (buffers), ``slab``, ``kernel`` (slab, stacks, page tables). Raises ValueError."""
    found = dict(line.split() for line in (path / "memory.stat").read_text().splitlines())
    if "sock" not in found:
        raise ValueError("its memory.stat has no sock; a kernel with cgroup v2 accounting is needed")
    return KernelMemory(
        scope="cgroup",
        sock_kib=int(found["sock"]) / 1024,
        slab_kib=_kib(found.get("slab")),
        kernel_kib=_kib(found.get("kernel")),
    )


def of_machine(proc: Path = Path("/proc")) -> KernelMemory:
    """Pages of TCP buffers (``net/sockstat``), and the sockets' objects where ``slabinfo`` may be read.

    Raises OSError or ValueError without the former.
    """
    for line in (proc / "net" / "sockstat").read_text().splitlines():
        if line.startswith("TCP:"):
            words = line.split()
            pages = int(words[words.index("mem") + 1])
            return KernelMemory(scope="machine", sock_kib=pages * PAGE_KIB, slab_kib=_slabs(proc / "slabinfo"))
    raise ValueError("sockstat has no TCP line")


def _slabs(path: Path) -> float | None:
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return None  # root alone may read it
    rows = [line.split() for line in lines]
    sizes = [int(row[1]) * int(row[3]) for row in rows if row and row[0] in SOCKET_SLABS]
    return sum(sizes) / 1024 if sizes else None


def _kib(text: str | None) -> float | None:
    return None if text is None else int(text) / 1024


def _less(now: float | None, before: float | None) -> float | None:
    return None if now is None or before is None else now - before
