"""Owns a child that serves one client alone, beside the one that all share.

It is an instance in the same place: it starts, talks and ends as the shared one does, and counts for the same breaker
and balancer. Rule: what happens to it is its client's affair; it changes neither the state of the server nor what is
known of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from crossfade.impls.python.upstream_stdio import StdioInstance
from crossfade.impls.states import ServerState

if TYPE_CHECKING:
    from collections.abc import Callable

    from crossfade.impls.errors import CrossfadeError


class OwnChild(StdioInstance):
    """``shared`` is the instance that it stands beside, ``hello`` the params of its ``initialize``; ``started_anew`` is
    called whenever it has been started: what was said to it before is forgotten.
    """

    __slots__ = ("_shared", "_started_anew")

    def __init__(self, shared: StdioInstance, hello: bytes, started_anew: Callable[[], None]) -> None:
        super().__init__(shared.revision, shared.index)
        self._shared = shared
        self._started_anew = started_anew
        self.hello = hello
        self.own = True
        self.legacy_only = True
        self.breaker = shared.breaker
        self.claim = shared.claim

    def recovered(self) -> None:
        super().recovered()
        self._started_anew()

    def set_state(self, state: ServerState) -> None:
        if self.state is not ServerState.STOPPED:
            self.state = state

    def heard(self, ok: bool) -> None:
        """The shared instance is judged by its own calls."""

    def _announce(self, now_ns: int) -> None:
        self._shared._announce(now_ns)

    def failed(self, error: CrossfadeError) -> None:
        self.last_error = error

    def tell(self, note: bytes) -> None:
        """A notification of its client's."""
        if self.child is not None and self.child.returncode is None:
            self.child.tell(note)
