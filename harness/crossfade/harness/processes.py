"""Child processes that speak JSON lines: started pinned, read with a deadline, always ended.

Owns the life of every process a block starts. The rule: a child that ends or stays silent becomes one error that names
it and quotes the end of what it wrote to stderr; no child outlives its block, nor the harness (they end when their
stdin closes).
"""

from __future__ import annotations

import contextlib
import os
import resource
import select
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from crossfade.harness.affinity import pinned
from crossfade.harness.problems import BlockFailed

_TAIL = 400
FILES = 65_536


def raise_file_limit() -> int:
    """Lift the soft limit of open files to the hard one, for this process and its children; return what it is now."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES if hard == resource.RLIM_INFINITY else min(FILES, hard)
    if resource.getrlimit(resource.RLIMIT_NOFILE)[0] < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def last_words(stderr: str) -> str:
    """The end of what a process wrote; of a Python traceback only the exception, on one line."""
    said = stderr.strip()
    if "Traceback (most recent call last)" in said:
        said = said.splitlines()[-1]
    return " ".join(said[-_TAIL:].split())


class Child:
    """One process. Use as a context manager; leaving it closes stdin, waits, and ends the whole process group."""

    def __init__(
        self,
        what: str,
        argv: Sequence[str],
        *,
        cpus: frozenset[int] | None = None,
        env: dict[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        self.what = what
        self._buffer = b""
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the child
        with pinned(cpus):
            try:
                self.process = subprocess.Popen(
                    list(argv),
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=self._stderr,
                    env={**os.environ, **(env or {})},
                    cwd=cwd,
                    # Its own group: Ctrl-C reaches the harness alone, which then ends its children in order.
                    start_new_session=True,
                )
            except OSError as error:
                self._stderr.close()
                raise BlockFailed(f"{what}: cannot be started ({error}); check the installation") from error

    @property
    def pid(self) -> int:
        """Process id."""
        return self.process.pid

    def send(self, message: object) -> None:
        """Write one JSON line. Raises BlockFailed if the child no longer reads."""
        assert self.process.stdin is not None  # noqa: S101 - PIPE above
        try:
            self.process.stdin.write(msgspec.json.encode(message) + b"\n")
            self.process.stdin.flush()
        except (BrokenPipeError, ValueError) as error:
            raise BlockFailed(self._ended("stopped reading")) from error

    def expect(self, *events: str, timeout_s: float) -> dict[str, Any]:
        """The next message whose ``event`` is one of ``events``; others are skipped.

        Raises BlockFailed if the child reports an error, ends, or is silent for ``timeout_s`` seconds.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            message = self._message(deadline, timeout_s, events)
            if message.get("event") in events:
                return message
            if message.get("event") == "error":
                raise BlockFailed(f"{self.what}: {message.get('message', 'failed without saying why')}")

    def _message(self, deadline: float, timeout_s: float, events: tuple[str, ...]) -> dict[str, Any]:
        line = self._line(deadline)
        if line is None:
            state = self._ended("ended") if self.process.poll() is not None else f"{self.what}: silent"
            raise BlockFailed(f"{state} while waiting {timeout_s:g} s for {' or '.join(events)!r}")
        try:
            message = msgspec.json.decode(line)
        except msgspec.DecodeError:
            message = None
        if not isinstance(message, dict):
            raise BlockFailed(f"{self.what}: wrote {line[:80]!r} where a JSON line was due; its stdout must stay clean")
        return message

    def _line(self, deadline: float) -> bytes | None:
        assert self.process.stdout is not None  # noqa: S101 - PIPE above
        fd = self.process.stdout.fileno()
        while True:
            line, newline, rest = self._buffer.partition(b"\n")
            if newline:
                self._buffer = rest
                return line
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([fd], [], [], left)[0]:
                return None
            # A megabyte at a time: results carry histograms and series on one line.
            chunk = os.read(fd, 1 << 20)
            if not chunk:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self.process.wait(timeout=1)
                return None
            self._buffer += chunk

    def _ended(self, how: str) -> str:
        code = self.process.poll()
        with contextlib.suppress(ValueError):
            self._stderr.seek(0)
            tail = last_words(self._stderr.read().decode(errors="replace"))
            return f"{self.what}: {how} (exit code {code}){': ' + tail if tail else ''}"
        return f"{self.what}: {how} (exit code {code})"

    def alive(self) -> None:
        """Raise BlockFailed if the process has ended."""
        if self.process.poll() is not None:
            raise BlockFailed(self._ended("ended in the middle of the block"))

    def close(self, *, grace_s: float = 5.0) -> None:
        """Close stdin, wait, then SIGTERM and SIGKILL to the whole group. Safe to call twice."""
        stdin, stdout = self.process.stdin, self.process.stdout
        if stdin is not None:
            with contextlib.suppress(OSError, ValueError):
                stdin.close()
        for number, wait_s in ((None, grace_s), (signal.SIGTERM, 2.0), (signal.SIGKILL, 5.0)):
            if number is not None:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(self.process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(timeout=wait_s)
                break
        # A group may outlive its leader (a variant that crashed leaves its stdio children).
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        if stdout is not None:
            stdout.close()
        self._stderr.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(grace_s=0.2 if kind is not None else 5.0)
