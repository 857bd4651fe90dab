"""``crossfade serve`` follows its configuration: on SIGHUP, and with ``--watch`` whenever a file of it changes.

Rule: a broken file changes nothing. The gateway goes on with what it runs, and one line says why.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from crossfade.harness.cli import output
from crossfade.impls import Manager
from crossfade.impls.config.files import Loaded, load_files
from crossfade.impls.errors import CrossfadeError

LOOK_EVERY_S = 1.0

Stamp = tuple[tuple[int, int, int] | None, ...]


@contextlib.asynccontextmanager
async def following(manager: Manager, loaded: Loaded, options: argparse.Namespace) -> AsyncIterator[None]:
    """Reload while the block runs."""
    wanted = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGHUP, wanted.set)
    tasks = [asyncio.ensure_future(_reload(manager, options.config, wanted))]
    if options.watch:
        tasks.append(asyncio.ensure_future(_watch(loaded, options.config, wanted)))
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGHUP)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _reload(manager: Manager, path: Path, wanted: asyncio.Event) -> None:
    while True:
        await wanted.wait()
        wanted.clear()
        try:
            changes = await manager.apply(load_files(path).config)
        except CrossfadeError as error:
            output.note(f"not reloaded, all goes on as before: {error}")
            continue
        output.note(f"reloaded {path}: {changes}")
        for name, reason in changes.failed.items():
            output.note(f"server {name!r} stays as it was: {reason}")


async def _watch(loaded: Loaded, path: Path, wanted: asyncio.Event) -> None:
    """Look at the files (and not for events: editors and orchestrators replace files in too many ways)."""
    files = loaded.files
    seen = stamp(files)
    while True:
        await asyncio.sleep(LOOK_EVERY_S)
        now = stamp(files)
        if now == seen:
            continue
        # A writer may be half way: wait for one look without a change.
        await asyncio.sleep(LOOK_EVERY_S / 4)
        if stamp(files) != now:
            continue
        seen = now
        with contextlib.suppress(CrossfadeError):  # told by the reload
            files = load_files(path).files
            seen = stamp(files)
        wanted.set()


def stamp(files: Sequence[Path]) -> Stamp:
    """What changes when a file is written or replaced; None for one that is not there."""

    def of(path: Path) -> tuple[int, int, int] | None:
        try:
            found = path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino

    return tuple(of(path) for path in files)
