"""Owns the storage pools: who has claimed how much of them, the directory of each claim, and how much is really used.

Rules: what is claimed never exceeds a pool's capacity; nothing outside of a pool is created, measured or deleted, so no
symbolic link is followed below its root; the disk is walked off the event loop, at most ``max_entries`` of a claim a
time; and a look that did not see everything is told of.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from crossfade.impls.config import StorageClaim, StoragePoolSpec
from crossfade.impls.errors import ServerStartError, StorageExhausted
from crossfade.impls.snapshots import Event, StorageInfo
from crossfade.impls.states import StorageClass

_MAX_DEPTH: Final = 128
_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(slots=True)
class Claim:
    """One instance's part of a pool. ``held`` false: kept for whoever comes next. ``used`` is as of the last look,
    which did not see everything if ``cut``."""

    storage_class: StorageClass
    server: str
    index: int
    bytes: int
    path: str
    held: bool = True
    used: int = 0
    over: bool = False
    cut: bool = False


class _Pool:
    """One configured pool and its claims, by server and index."""

    def __init__(self, spec: StoragePoolSpec) -> None:
        self.spec = spec
        self.root = Path(spec.path).absolute()
        self.claims: dict[tuple[str, int], Claim] = {}

    @property
    def claimed(self) -> int:
        return sum(claim.bytes for claim in self.claims.values())

    def free_for(self, server: str) -> int:
        """What this server may claim: what nobody has, and what was kept for it."""
        kept = sum(c.bytes for c in self.claims.values() if c.server == server and not c.held)
        return self.spec.capacity_bytes - self.claimed + kept

    def next_index(self, server: str) -> int:
        """The lowest one that is kept, or else the lowest that is free."""
        own = {claim.index: claim.held for claim in self.claims.values() if claim.server == server}
        kept = [index for index, held in own.items() if not held]
        return min(kept) if kept else next(i for i in range(len(own) + 1) if i not in own)


class Storage:
    """All pools of a manager. ``publish`` is told of claims that are exceeded."""

    def __init__(self, pools: Iterable[StoragePoolSpec], publish: Callable[[Event], None]) -> None:
        self._pools = {spec.storage_class: _Pool(spec) for spec in pools}
        self._publish = publish
        self._watches: dict[StorageClass, asyncio.Task[None]] = {}

    # -- claims

    def check(self, server: str, claim: StorageClaim, count: int) -> None:
        """Raises StorageExhausted unless ``count`` more instances fit."""
        pool = self._pools.get(claim.storage_class)
        if pool is None:
            known = ", ".join(self._pools) or "none"
            raise StorageExhausted(
                f"server {server!r} claims storage of class {str(claim.storage_class)!r} and there is no such pool "
                f"(configured: {known}); add one to storage, or claim another class",
                server=server,
            )
        need, free = claim.bytes * count, pool.free_for(server)
        if need > free:
            raise StorageExhausted(
                f"server {server!r} claims {need} bytes ({count} instances, {claim.bytes} each) of storage pool "
                f"{str(claim.storage_class)!r}, which has {free} of {pool.spec.capacity_bytes} left; claim less, "
                "undeploy something, or raise capacityBytes",
                server=server,
            )

    def claim(self, server: str, wanted: StorageClaim) -> Claim:
        """A directory for one instance, taken up again if it was kept. Raises StorageExhausted, ServerStartError."""
        self.check(server, wanted, 1)
        pool = self._pools[wanted.storage_class]
        index = pool.next_index(server)
        try:
            _make(pool.root, server, str(index))
        except OSError as error:
            raise ServerStartError(
                f"server {server!r}: its storage {str(pool.root / server / str(index))!r} cannot be made "
                f"({error.strerror}); look at what is there, or at the pool's path",
                server=server,
            ) from None
        path = str(pool.root / server / str(index))
        found = Claim(wanted.storage_class, server, index, wanted.bytes, path)
        pool.claims[server, index] = found
        self._watch(pool)
        return found

    async def release(self, claim: Claim, *, keep: bool) -> None:
        """Nobody uses it any more: keep it for the server's next instance, or delete it with all that is in it."""
        pool = self._pools[claim.storage_class]
        key = claim.server, claim.index
        if pool.claims.get(key) is not claim or not claim.held:
            return
        if keep:
            claim.held = False
            return
        try:
            await asyncio.to_thread(_remove, pool.root, claim.server, str(claim.index))
        finally:
            del pool.claims[key]

    async def forget(self, server: str) -> None:
        """Delete what was kept for a server."""
        kept = [c for p in self._pools.values() for c in p.claims.values() if c.server == server and not c.held]
        for claim in kept:
            claim.held = True
            await self.release(claim, keep=False)

    def info(self) -> list[StorageInfo]:
        """What ``Manager.storage`` returns."""
        return [
            StorageInfo(
                storage_class=pool.spec.storage_class,
                path=str(pool.root),
                capacity_bytes=pool.spec.capacity_bytes,
                claimed_bytes=pool.claimed,
                used_bytes=sum(claim.used for claim in pool.claims.values()),
                claims={
                    server: sum(c.bytes for c in pool.claims.values() if c.server == server)
                    for server in dict.fromkeys(claim.server for claim in pool.claims.values())
                },
            )
            for pool in self._pools.values()
        ]

    # -- usage

    def _watch(self, pool: _Pool) -> None:
        if pool.spec.storage_class not in self._watches:
            task = asyncio.get_running_loop().create_task(self._look_after(pool))
            self._watches[pool.spec.storage_class] = task

    async def _look_after(self, pool: _Pool) -> None:
        while True:
            await asyncio.sleep(pool.spec.check_interval_ms / 1000)
            for claim in list(pool.claims.values()):
                most = pool.spec.max_entries
                claim.used, whole = await asyncio.to_thread(_used, pool.root, claim.server, str(claim.index), most)
                if not whole and not claim.cut:
                    _tell_of_more(claim, most)
                claim.cut = not whole
                over = claim.used > claim.bytes
                if over and not claim.over:
                    self._publish(Event("quota", claim.server, old=str(claim.bytes), new=str(claim.used)))
                claim.over = over

    def close(self) -> None:
        """Stop looking. The directories stay: whoever starts again finds them."""
        for task in self._watches.values():
            task.cancel()
        self._watches.clear()


def _make(root: Path, *names: str) -> None:
    """Make directories below the root, following no link. Raises OSError."""
    root.mkdir(parents=True, exist_ok=True)
    fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for name in names:
            with contextlib.suppress(FileExistsError):  # taken up again, if it is a directory
                os.mkdir(name, 0o700, dir_fd=fd)
            inner = os.open(name, _DIRECTORY, dir_fd=fd)
            os.close(fd)
            fd = inner
    finally:
        os.close(fd)


def _open_server(root: Path, server: str) -> int | None:
    """The server's directory in the pool; None if it is gone, or is not one."""
    try:
        fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return os.open(server, _DIRECTORY, dir_fd=fd)
    except OSError:
        return None
    finally:
        os.close(fd)


def _remove(root: Path, server: str, index: str) -> None:
    """Delete one directory. What cannot be deleted stays; a link in its place is left alone."""
    fd = _open_server(root, server)
    if fd is None:
        return
    try:
        shutil.rmtree(index, ignore_errors=True, dir_fd=fd)
    finally:
        os.close(fd)
    try:
        (root / server).rmdir()  # only if it is empty, and never through a link
    except OSError:
        return


def _used(root: Path, server: str, index: str, most: int) -> tuple[int, bool]:
    """Bytes of the files in one directory, as their sizes say; and whether all of them were seen: no more than ``most``
    entries are looked at, and no deeper than ``_MAX_DEPTH``."""
    fd = _open_server(root, server)
    if fd is None:
        return 0, True
    total, whole = 0, True
    try:
        for path, folders, files, inner in os.fwalk(index, dir_fd=fd, follow_symlinks=False):
            most -= len(folders)
            for name in files[: max(most, 0)]:
                try:
                    total += os.stat(name, dir_fd=inner, follow_symlinks=False).st_size
                except OSError:  # gone meanwhile
                    continue
            most -= len(files)
            if most < 0:
                return total, False
            if path.count(os.sep) >= _MAX_DEPTH and folders:
                folders.clear()
                whole = False
    finally:
        os.close(fd)
    return total, whole


def _tell_of_more(claim: Claim, most: int) -> None:
    logging.getLogger(f"crossfade.server.{claim.server}").warning(
        "storage %r has more than %d entries or is more than %d directories deep: it uses more than the %d bytes that "
        "are counted against its claim; keep fewer files there, or raise storage.maxEntries",
        claim.path,
        most,
        _MAX_DEPTH,
        claim.used,
    )
