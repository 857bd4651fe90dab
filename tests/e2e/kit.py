"""A process in the background whose words are kept, and the command under test."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from pathlib import Path

CROSSFADE = Path(sys.executable).parent / "crossfade"


class Background:
    """A child whose output is read to the end, so that it never blocks; ``find`` waits for a line."""

    def __init__(self, command: list[str], **environment: str) -> None:
        self.lines: list[str] = []
        self._arrived = threading.Condition()
        self._ended = False
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **environment},
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with self._arrived:
                self.lines.append(line)
                self._arrived.notify_all()
        with self._arrived:
            self._ended = True
            self._arrived.notify_all()

    def find(self, pattern: re.Pattern[str], timeout_s: float = 30) -> str:
        """The first match in its standard error."""

        def found() -> re.Match[str] | None:
            return next((match for line in self.lines if (match := pattern.search(line))), None)

        with self._arrived:
            self._arrived.wait_for(lambda: self._ended or found() is not None, timeout_s)
            match = found()
        assert match is not None, (
            f"{self.process.args!r} never said {pattern.pattern!r}; it said: {''.join(self.lines)}"
        )
        return match.group()

    def stop(self) -> None:
        """SIGTERM, as a service manager does; killed if that is not enough."""
        self.process.terminate()
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
        finally:
            self._reader.join(5)
            if self.process.stderr is not None:
                self.process.stderr.close()
