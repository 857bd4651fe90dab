"""Which processes belong together: the tree below one, and who listens on a port. Linux, from ``/proc``.

The rule: what cannot be read (another user's process, another machine) is left out, never guessed.
"""

from __future__ import annotations

from pathlib import Path

from crossfade.harness.cpuclock import children

_LISTEN = "0A"
OURS = (b"crossfade.harness.fleet", b"crossfade.harness.affinity")
"""Modules that run as an upstream which a gateway started for us: its cost is not the gateway's."""


def tree(root: int) -> tuple[int, ...]:
    """``root`` and all below it, without upstreams of ours; empty if it is gone."""
    found: list[int] = []
    waiting = [root]
    while waiting:
        pid = waiting.pop()
        words = _command_line(pid)
        # By position: a gateway that is told what to start has these words among its own, further back.
        if not words or (words[1:2] == [b"-m"] and words[2:3] and words[2] in OURS) or pid in found:
            continue
        found.append(pid)
        waiting.extend(children(pid))
    return tuple(found)


def listeners(port: int) -> tuple[int, ...]:
    """The processes that hold a listening TCP socket on ``port``, and all below them."""
    inodes = {f"socket:[{inode}]" for inode in _listening(port)}
    if not inodes:
        return ()
    roots = [pid for pid in _all() if inodes & _sockets(pid)]
    return tuple(dict.fromkeys(pid for root in roots for pid in tree(root)))


def _listening(port: int) -> set[str]:
    found = set()
    for name in ("tcp", "tcp6"):
        try:
            lines = Path(f"/proc/net/{name}").read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if fields[3] == _LISTEN and int(fields[1].rpartition(":")[2], 16) == port:
                found.add(fields[9])
    return found


def _all() -> list[int]:
    return [int(p.name) for p in Path("/proc").iterdir() if p.name.isdecimal()]


def _sockets(pid: int) -> set[str]:
    found = set()
    try:
        for fd in Path(f"/proc/{pid}/fd").iterdir():
            try:
                found.add(str(fd.readlink()))
            except OSError:
                continue
    except OSError:
        return set()
    return found


def _command_line(pid: int) -> list[bytes]:
    """Its words; none if it is gone (or a kernel thread, which is nobody's child)."""
    try:
        raw = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return []
    return raw.rstrip(b"\0").split(b"\0") if raw else []
