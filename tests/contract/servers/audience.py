"""Who is told of changes: open streams and pipes, each with what it asked for.

Rule: one message goes to one stream of a client only, and a modern listener gets nothing it did not ask for.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.contract.servers.base import META, Message, Peer, notification

FILTERS = {
    "notifications/tools/list_changed": "toolsListChanged",
    "notifications/prompts/list_changed": "promptsListChanged",
    "notifications/resources/list_changed": "resourcesListChanged",
}
UPDATED = "notifications/resources/updated"


@dataclass(eq=False)
class Listener:
    """One stream: of a legacy ``peer``, or of a modern ``subscriptions/listen`` with its ``filter`` and id.

    ``end`` closes it; its argument is the last message, or None for an end without a word.
    """

    send: Callable[[Message], None]
    end: Callable[[Message | None], None]
    peer: Peer
    filter: Message | None = None
    id: Any = None

    def wants(self, method: str, params: Message) -> bool:
        if method == UPDATED:
            uris = self.peer.uris if self.filter is None else self.filter.get("resourceSubscriptions") or ()
            return params.get("uri") in uris
        return self.filter is None or bool(self.filter.get(FILTERS.get(method, method)))

    def tell(self, method: str, params: Message) -> None:
        if self.filter is not None:
            params = {**params, "_meta": {**params.get("_meta", {}), META + "subscriptionId": self.id}}
        self.send(notification(method, params or None))

    def acknowledge(self) -> None:
        """The first message of a modern listener."""
        assert self.filter is not None
        self.tell("notifications/subscriptions/acknowledged", {"notifications": self.filter})


class Audience:
    """All listeners of the server."""

    def __init__(self) -> None:
        self._listeners: list[Listener] = []
        self._lock = threading.Lock()

    def join(self, listener: Listener) -> None:
        """From now on; a modern one is acknowledged before anything else can reach it."""
        with self._lock:
            if listener.filter is not None:
                listener.acknowledge()
            self._listeners.append(listener)

    def leave(self, listener: Listener) -> None:
        with self._lock:
            self._listeners = [one for one in self._listeners if one is not listener]

    def announce(self, method: str, params: Message) -> int:
        """Tells all who want to know; how many that were."""
        with self._lock:
            told: set[int] = set()
            wanting = [one for one in self._listeners if one.wants(method, params)]
            chosen = [one for one in wanting if one.filter is not None or _first(told, one)]
            for listener in chosen:
                listener.tell(method, params)
            return len(chosen)

    def of_peer(self, peer: Peer) -> Listener | None:
        """The first open stream of a legacy client."""
        with self._lock:
            return next((one for one in self._listeners if one.peer is peer and one.filter is None), None)

    def dismiss(self, *, graceful: bool) -> int:
        """Ends every stream; a modern one with its result if ``graceful``."""
        with self._lock:
            leaving, self._listeners = self._listeners, []
        for listener in leaving:
            meta = {"_meta": {META + "subscriptionId": listener.id}}
            last = {"jsonrpc": "2.0", "id": listener.id, "result": {"resultType": "complete", **meta}}
            listener.end(last if graceful and listener.filter is not None else None)
        return len(leaving)

    def __len__(self) -> int:
        with self._lock:
            return len(self._listeners)

    def filters(self) -> list[Message]:
        """What the modern ones asked for."""
        with self._lock:
            return [one.filter for one in self._listeners if one.filter is not None]


def _first(told: set[int], listener: Listener) -> bool:
    key = id(listener.peer)
    return key not in told and not told.add(key)  # type: ignore[func-returns-value]
