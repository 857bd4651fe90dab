"""Owns the ids of server-sent events in a legacy session: ``<stream>-<n>``.

Rule: the id alone says on which stream of its session an event was (2025-11-25 basic/transports, "Resumability": a
server must not replay what was sent on another one). Both are numbers without leading zeros: an event has one id.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

_FORM: Final = re.compile(r"(0|[1-9][0-9]{0,19})-(0|[1-9][0-9]{0,19})", re.ASCII)
_LARGEST: Final = 2**64 - 1


class EventId(NamedTuple):
    """The ``n``-th event of a stream."""

    stream: int
    n: int


def write(stream: int, n: int) -> str:
    """The id as it stands in the event."""
    return f"{stream}-{n}"


def read(text: str) -> EventId | None:
    """What a ``Last-Event-ID`` names, or None if it is none of ours."""
    found = _FORM.fullmatch(text)
    if found is None:
        return None
    event = EventId(int(found[1]), int(found[2]))
    return event if max(event) <= _LARGEST else None
