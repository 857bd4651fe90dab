"""Owns the question which requests of a server may be sent twice, and how often that may happen.

Rule: a request is safe to repeat if its method has no effects, or the tool says so in its annotations
(``retry.hints``), or the configuration says so (``retry.tools``). Only failures that another attempt can mend are
repeated: the server could not be reached, crashed, or had no connection free. A timeout is none of them, because the
first copy may still run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from crossfade.impls.cores import RetryConfig
from crossfade.impls.errors import CrashLoop, CrossfadeError, PoolTimeout, ServerCrashed, ServerStartError
from crossfade.impls.python.jsonrpc import LISTS
from crossfade.impls.python.matching import Globs

if TYPE_CHECKING:
    from crossfade.impls.config import RetrySpec
    from crossfade.impls.cores import Cores

READS: Final = frozenset({"resources/read", "prompts/get"})
_SAFE: Final = frozenset({*LISTS, *READS, "completion/complete"})
_MENDED: Final = (ServerStartError, ServerCrashed, PoolTimeout)
_HINTS: Final = ("idempotentHint", "readOnlyHint")


def may_mend(error: CrossfadeError) -> bool:
    """Whether another attempt may end better than with ``error``."""
    return isinstance(error, _MENDED) and not isinstance(error, CrashLoop)


class Repeating:
    """What is known of one server's tools, and its budget for second attempts."""

    __slots__ = ("_enabled", "_globs", "_hinted", "_hints", "core", "tools")

    def __init__(self, spec: RetrySpec, cores: Cores, seed: int) -> None:
        self.core = cores.retry(RetryConfig.from_spec(spec), seed)
        self._enabled = spec.attempts > 1
        self._hints = spec.hints
        self._globs = Globs(spec.tools)
        self._hinted: set[str] = set()
        self.tools = self._enabled and bool(self._globs)
        """Whether there is any tool that may be repeated: what the hot path asks first."""

    def learn(self, tool: str, annotations: Any) -> None:
        """What the server's list says of one of its tools."""
        if not self._hints or not self._enabled:
            return
        if isinstance(annotations, dict) and any(annotations.get(hint) is True for hint in _HINTS):
            self._hinted.add(tool)
        else:
            self._hinted.discard(tool)
        self.tools = bool(self._hinted) or bool(self._globs)

    def forget(self) -> None:
        """The tools are others now: what is not listed again is not safe."""
        self._hinted.clear()
        self.tools = self._enabled and bool(self._globs)

    def allows(self, method: str, name: str | None) -> bool:
        """Whether a request may be sent twice; ``name`` is a tool's own."""
        if not self._enabled:
            return False
        if method == "tools/call":
            return name is not None and (name in self._hinted or self._globs.matches(name))
        return method in _SAFE

    def counted(self, method: str, name: str | None) -> None:
        """A request goes out for the first time: if it may be repeated, the budget for that grows."""
        if self.allows(method, name):
            self.core.request()

    def delay_ns(self, error: CrossfadeError, made: int, now_ns: int, deadline_ns: int) -> int:
        """How long to wait for the attempt after the ``made`` ones, the last of which failed with ``error``; -1: none.

        What ends after the request's own deadline is not begun.
        """
        if not may_mend(error):
            return -1
        delay_ns = self.core.next(made)
        if delay_ns < 0 or delay_ns < deadline_ns - now_ns:
            return delay_ns
        self.core.forget()
        return -1
