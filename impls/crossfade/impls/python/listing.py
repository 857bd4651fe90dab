"""Owns the asking for lists: every page of one server, or of all at once, each within its own time.

Rules: a list has one deadline, however many pages it has; of several servers, none delays or breaks the others: one
that fails or is late is left out and named in ``missing``. The order is that of registration.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from time import monotonic_ns
from typing import TYPE_CHECKING, Any, Final

import msgspec

from crossfade.impls.errors import CrossfadeError, ProtocolViolation, RemoteError
from crossfade.impls.python.jsonrpc import LISTS, METHOD_NOT_FOUND
from crossfade.impls.results import Item

if TYPE_CHECKING:
    from crossfade.impls.python.catalog import Catalog
    from crossfade.impls.python.server import Server

MAX_PAGES: Final = 1000
TOGETHER_MS: Final = 5_000
"""How long a list of several servers waits for one of them, if ``timeoutMs`` does not say less."""
PARTIAL: Final = "io.crossfade/partial"
"""The key of ``_meta`` under which a list names the servers that are missing in it."""
CAPABILITY: Final = {
    "tools/list": "tools",
    "prompts/list": "prompts",
    "resources/list": "resources",
    "resources/templates/list": "resources",
}
"""What a server announces that has such a list; also what its changes are told as."""
_page = msgspec.json.Decoder(dict[str, Any]).decode


@dataclass(frozen=True, slots=True)
class Listing:
    """What all servers list, and the names of those that did not answer."""

    items: list[Item]
    missing: list[str]


async def read_all(catalog: Catalog, servers: list[Server], method: str, principal: str | None) -> Listing:
    """Ask all servers at once."""
    asked = (read(catalog, s, method, principal, within_ms=patience_ms(s)) for s in servers)
    found = Listing([], [])
    for server, part in zip(servers, await asyncio.gather(*asked, return_exceptions=True), strict=True):
        if isinstance(part, CrossfadeError):
            catalog.errors[part.code] += 1
            found.missing.append(server.spec.name)
            server.watched.returning.missed(method, catalog, part)
        elif isinstance(part, BaseException):
            raise part
        else:
            found.items.extend(part)
    return found


def patience_ms(server: Server) -> int:
    """How long one of several servers may take for its list."""
    return min(server.spec.timeout_ms, TOGETHER_MS)


async def read(
    catalog: Catalog, server: Server, method: str, principal: str | None = None, *, within_ms: int | None = None
) -> list[Item]:
    """Every page of one server, all of them within its ``timeoutMs`` (or less). Raises what its failure is.

    A list is one request to rate limits; without ``principal`` it is the manager's own, which they are not for.
    """
    items = await _read(catalog, server, method, principal, within_ms)
    server.watched.returning.found(method)
    return items


async def _read(
    catalog: Catalog, server: Server, method: str, principal: str | None, within_ms: int | None
) -> list[Item]:
    server.calls.admit(None, principal)
    deadline_ns = monotonic_ns() + (server.spec.timeout_ms if within_ms is None else within_ms) * 1_000_000
    peer = server.peer
    if peer is not None and CAPABILITY[method] not in peer.capabilities:
        return []
    key = LISTS[method]
    name = server.spec.name
    items: list[Item] = []
    cursor: object = None
    for _ in range(MAX_PAGES):
        left_s = max(deadline_ns - monotonic_ns(), 1) / 1e9
        try:
            raw = await server.calls.request(
                method, {} if cursor is None else {"cursor": cursor}, timeout_s=left_s, principal=principal
            )
        except RemoteError as error:
            if error.remote_code == METHOD_NOT_FOUND:
                return []
            raise
        page = _read_page(raw, key, name)
        items += [item for entry in page[key] if (item := catalog.item(server, method, entry)) is not None]
        cursor = page.get("nextCursor")
        if cursor is None or (not cursor and _ends_with_nothing(server)):
            return items
    raise ProtocolViolation(
        f"server {name!r} sent more than {MAX_PAGES} pages to {method}; look at its cursors", server=name
    )


def _ends_with_nothing(server: Server) -> bool:
    """Whether an empty cursor says that there is no further page.

    To 2026-07-28 it is a cursor like any other (server/utilities/pagination). Earlier revisions do not say, and servers
    of theirs send one behind the last page, for which an endless list is no answer.
    """
    return server.peer is not None and server.peer.era == "legacy"


def _read_page(raw: bytes, key: str, server: str) -> dict[str, Any]:
    try:
        page = _page(raw)
    except msgspec.DecodeError as error:
        raise ProtocolViolation(
            f"server {server!r} sent a list that is no object ({error}); look at it", server=server
        ) from None
    if not isinstance(page.get(key), list):
        raise ProtocolViolation(f"server {server!r} sent a list without {key!r}; look at the server", server=server)
    if not isinstance(page.get("nextCursor"), str | None):
        raise ProtocolViolation(
            f"server {server!r} sent a nextCursor that is no string; look at the server", server=server
        )
    return page
