"""Owns the starting and the ending of a child process: three pipes, a process group of its own, nothing inherited.

``subprocess.Popen`` and not ``loop.subprocess_exec``: uvloop's leaks inheritable descriptors of ours into the child,
and asyncio's spends a thread per child on waiting. A pidfd tells of the exit where there are pidfds (Linux), a thread
elsewhere.

Rule: ``kill`` may be called at any time and leaves no member of the group alive.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import Callable
from typing import IO, Protocol, cast

from crossfade.impls.config import ServerSpec
from crossfade.impls.python.guard import guarded


class ChildListener(Protocol):
    """Who is told what happens to the child."""

    def stdout_received(self, data: bytes) -> None:
        """Bytes of stdout."""

    def stderr_received(self, data: bytes) -> None:
        """Bytes of stderr."""

    def stdout_ended(self) -> None:
        """Nobody holds the other end of stdout any more."""

    def exited(self, returncode: int) -> None:
        """The process is over and reaped."""


class Child:
    """A running command. Its group may outlive it: wrappers such as npx leave grandchildren behind."""

    __slots__ = ("_exit", "_listener", "_pidfd", "_process", "_readers", "pid", "returncode", "stdin")

    def __init__(self, process: subprocess.Popen[bytes], listener: ChildListener) -> None:
        self._process = process
        self._listener = listener
        self._readers: list[asyncio.BaseTransport] = []
        self._pidfd = -1
        self._exit: asyncio.Event = asyncio.Event()
        self.pid = process.pid
        self.returncode: int | None = None
        self.stdin: asyncio.WriteTransport | None = None

    @classmethod
    async def start(cls, spec: ServerSpec, listener: ChildListener, directory: str | None = None) -> Child:
        """Start the command of ``spec``, in ``directory`` unless it says where. Raises OSError."""
        storage = {"CROSSFADE_STORAGE": directory} if directory is not None else {}
        env = {**os.environ, **storage, **spec.env}
        process = subprocess.Popen(  # noqa: ASYNC220  vfork and exec: less than the loop's own subprocess_exec blocks
            guarded([spec.command or "", *spec.args], env),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=env,
            cwd=spec.cwd or directory,
            bufsize=0,
            start_new_session=True,
        )
        child = cls(process, listener)
        connecting = asyncio.ensure_future(child._connect())
        try:
            # Some turns of the loop, which a cancelled caller waits for: a transport that is half made when it is
            # cancelled leaves its pipe to the garbage collector (and uvloop's closes the descriptor a second time).
            await asyncio.shield(connecting)
        except BaseException:
            child.signal(signal.SIGKILL)
            try:
                await asyncio.wait((connecting,))
            finally:
                child.kill()
            raise
        return child

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        listener = self._listener
        free = [cast(IO[bytes], p) for p in (self._process.stderr, self._process.stdout, self._process.stdin)]
        try:
            writer, _ = await loop.connect_write_pipe(lambda: _Writer(self), free.pop())
            self.stdin = writer
            for received, ended in (
                (listener.stdout_received, listener.stdout_ended),
                (listener.stderr_received, None),
            ):
                reader, _ = await loop.connect_read_pipe(lambda r=received, e=ended: _Reader(r, e), free.pop())  # type: ignore[misc]
                self._readers.append(reader)
        finally:
            # A pipe belongs to its transport from the moment it is handed over; those that never were are ours.
            for pipe in free:
                pipe.close()
        if hasattr(os, "pidfd_open"):
            self._pidfd = os.pidfd_open(self.pid)
            loop.add_reader(self._pidfd, self._exited)
        else:
            loop.run_in_executor(None, self._process.wait).add_done_callback(lambda _: self._exited())

    def _exited(self) -> None:
        code = self._process.poll()
        if code is None or self.returncode is not None:
            return
        self._forget_pidfd()
        self.returncode = code
        self._exit.set()
        self._listener.exited(code)

    def _forget_pidfd(self) -> None:
        if self._pidfd >= 0:
            asyncio.get_running_loop().remove_reader(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = -1

    async def wait(self, seconds: float) -> bool:
        """Whether the process is over within ``seconds``."""
        try:
            async with asyncio.timeout(seconds):
                await self._exit.wait()
        except TimeoutError:
            return False
        return True

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the whole group. The group id stays ours as long as a member lives."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

    def kill(self) -> None:
        """SIGKILL to the whole group, and the end of the pipes."""
        self.signal(signal.SIGKILL)
        readers, self._readers = self._readers, []
        for reader in readers:
            reader.close()
        stdin, self.stdin = self.stdin, None
        # asyncio's would tell of its end twice if it is ending by itself already.
        if stdin is not None and (not stdin.is_closing() or stdin.get_write_buffer_size()):
            stdin.abort()
        if self.returncode is None:
            # A killed process is gone within microseconds; reap it here, as the loop may not run again.
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(0.5)
            self._exited()


class _Writer(asyncio.BaseProtocol):
    """The child's stdin. What it does not read waits in the transport's buffer, which the pool's places bound."""

    def __init__(self, child: Child) -> None:
        self._child = child

    def connection_lost(self, exc: Exception | None) -> None:
        self._child.stdin = None


class _Reader(asyncio.Protocol):
    """One pipe of the child's."""

    def __init__(self, received: Callable[[bytes], None], ended: Callable[[], None] | None) -> None:
        self._received = received
        self._ended = ended

    def data_received(self, data: bytes) -> None:
        self._received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._ended is not None:
            self._ended()
