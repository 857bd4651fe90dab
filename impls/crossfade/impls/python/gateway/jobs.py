"""Owns what a client connection knows of the thing that answers its request: a relay, or a task."""

from __future__ import annotations

import abc
import asyncio
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from crossfade.impls.python.gateway.speech import Speech


class Job(Protocol):
    """What answers the request in hand."""

    def cancel(self) -> None:
        """The client is gone."""

    def pause(self) -> None:
        """The client reads more slowly than we write."""

    def resume(self) -> None:
        """It has caught up."""

    def revoke(self) -> None:
        """The client has cancelled in words."""

    def more(self, data: bytes) -> None:
        """More of a body that is streamed."""


class TaskJob:
    """A request that a task answers; ``speech`` is what it says before the end, if it may."""

    __slots__ = ("speech", "task")

    def __init__(self) -> None:
        self.task: asyncio.Task[Any] | None = None
        self.speech: Speech | None = None

    def cancel(self) -> None:
        if self.speech is None or not self.speech.lost():
            self._stop()

    def pause(self) -> None:
        """The answer is written as a whole."""

    def resume(self) -> None:
        """Nothing was held back."""

    def revoke(self) -> None:
        self._stop()
        if self.speech is not None:
            self.speech.silence()

    def more(self, data: bytes) -> None:
        """The body was read as a whole."""

    def _stop(self) -> None:
        if self.task is not None:
            self.task.cancel()


class LastingJob(abc.ABC):
    """A request whose answer is a stream that stays open."""

    __slots__ = ()

    @abc.abstractmethod
    def cancel(self) -> None:
        """The client is gone."""

    def pause(self) -> None:  # noqa: B027  what is said looks at the client itself
        """The client reads more slowly than we write."""

    @abc.abstractmethod
    def resume(self) -> None:
        """It has caught up."""

    def revoke(self) -> None:
        """The client has cancelled in words."""
        self.cancel()

    def more(self, data: bytes) -> None:  # noqa: B027  there is none
        """The body was read as a whole."""

    @abc.abstractmethod
    def end(self) -> None:
        """The gateway closes: end the stream as it should end."""
