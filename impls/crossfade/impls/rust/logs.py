"""What servers write to stderr, from the native side into ``logging``: one logger ``crossfade.server.<name>`` each.

Rule: the native side bounds how many lines come and tells how many did not; here they are only passed on.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final

import crossfade_native
import msgspec

_LEVELS: Final = {"info": logging.INFO, "warning": logging.WARNING}


class _Line(msgspec.Struct):
    server: str
    level: str
    text: str


_decode = msgspec.json.Decoder(list[_Line]).decode


def follow(feed: crossfade_native.Logs) -> asyncio.Task[None]:
    """A task that logs every line until the manager is closed and all lines are told."""
    return asyncio.get_running_loop().create_task(_follow(feed), name="crossfade server logs")


async def _follow(feed: crossfade_native.Logs) -> None:
    while (raw := await feed.next()) is not None:
        for line in _decode(raw):
            name = f"crossfade.server.{line.server}" if line.server else "crossfade.server"
            logging.getLogger(name).log(_LEVELS[line.level], "%s", line.text)
