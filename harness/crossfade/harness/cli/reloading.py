"""``crossfade serve`` follows its configuration: on SIGHUP, and with ``--watch`` whenever a file of it changes.

Rule: a broken file changes nothing. The gateway goes on with what it runs, and one line says why.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from crossfade.harness.cli import output
from crossfade.impls import Manager
from crossfade.impls.config.files import Loaded, load_files, stamp
from crossfade.impls.errors import CrossfadeError

LOOK_EVERY_S = 1.0


@contextlib.asynccontextmanager
async def following(
    manager: Manager, loaded: Loaded, options: argparse.Namespace, wanted: asyncio.Event
) -> AsyncIterator[None]:
    """Reload while the block runs, whenever ``wanted`` is set or a file is no longer as ``loaded`` found it."""
    tasks = [asyncio.ensure_future(_reload(manager, options.config, wanted))]
    if options.watch:
        tasks.append(asyncio.ensure_future(_watch(loaded, options.config, wanted)))
    try:
        yield
    finally:
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
    files, seen = loaded.files, loaded.stamp
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
            fresh = load_files(path)
            files, seen = fresh.files, fresh.stamp
        wanted.set()
