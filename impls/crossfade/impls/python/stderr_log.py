"""Owns what a child writes to stderr: its last words for error messages, and the lines that go into our log.

Rules: everything is read, always, because a full pipe stops a child for good; and a child that shouts costs at most
``LINES_PER_S`` lines of log a second and one more that says how many were dropped. Lines are cut at ``_LINE`` bytes.
"""

from __future__ import annotations

import logging
from collections import deque
from time import monotonic_ns
from typing import Final

LINES_PER_S: Final = 100
_SECOND: Final = 1_000_000_000
_KEPT: Final = 20
_LINE: Final = 400


class StderrLog:
    """The stderr of one child of the named server, into the logger ``crossfade.server.<name>`` at level INFO."""

    __slots__ = ("_dropped", "_last", "_left", "_logger", "_rest", "_since_ns")

    def __init__(self, server: str) -> None:
        self._logger = logging.getLogger(f"crossfade.server.{server}")
        self._last: deque[str] = deque(maxlen=_KEPT)
        self._rest = b""
        self._left = LINES_PER_S
        self._since_ns = 0
        self._dropped = 0

    def received(self, data: bytes) -> None:
        """Bytes of stderr."""
        lines = (self._rest + data).split(b"\n")
        self._rest = lines.pop()[-_LINE:]
        now = monotonic_ns()
        if now - self._since_ns >= _SECOND:
            self._tell_dropped()
            self._since_ns, self._left = now, LINES_PER_S
        # Without a log only the last words count, and nothing else of a flood is looked at.
        logged = self._logger.isEnabledFor(logging.INFO)
        spoken = [line for line in (lines if logged else lines[-_KEPT:]) if line.strip()]
        for number, line in enumerate(spoken):
            log = logged and self._left > 0
            if log or number >= len(spoken) - _KEPT:
                text = line[:_LINE].decode("utf-8", "replace").rstrip()
                self._last.append(text)
                if log:
                    self._left -= 1
                    self._logger.info("%s", text)
                    continue
            self._dropped += logged

    def ended(self) -> None:
        """The child is gone: what it did not end with a newline counts too."""
        if self._rest.strip():
            rest, self._rest = self._rest, b""
            self.received(rest + b"\n")
        self._tell_dropped()

    def said(self) -> str:
        """Its last words, as the end of an error message; empty if it was silent."""
        return f"; its last words on stderr: {' | '.join(list(self._last)[-3:])[-500:]}" if self._last else ""

    def _tell_dropped(self) -> None:
        dropped, self._dropped = self._dropped, 0
        if dropped:
            self._logger.warning(
                "%d lines of stderr were dropped (more than %d in a second); make the server log less",
                dropped,
                LINES_PER_S,
            )
