"""Owns the answer to a list method: what all servers list, in one, or cut into pages.

Rule: a page is a piece of the list as it is now; when it has changed, the cursor is unknown and the client begins anew
(server/utilities/pagination). What several servers say of freshness has no common truth but the strictest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from crossfade.impls.errors import UnknownTarget
from crossfade.impls.python import cursor, jsonrpc
from crossfade.impls.python.jsonrpc import LISTS
from crossfade.impls.python.listing import PARTIAL

if TYPE_CHECKING:
    from crossfade.impls.python.listing import Listing
    from crossfade.impls.results import Item

_KEYS: Final = {"resources/list": "uri", "resources/templates/list": "uriTemplate"}


class _Params(msgspec.Struct):
    cursor: str | None = None


_params = msgspec.json.Decoder(_Params).decode


def page(method: str, params: bytes, found: Listing, size: int, *, modern: bool) -> bytes:
    """The result: everything if ``size`` is 0. Raises UnknownTarget for a cursor that is none of this list's."""
    hints = {"resultType": "complete", "ttlMs": 0, "cacheScope": "private"} if modern else {}
    result: dict[str, Any] = {**hints, **({"_meta": {PARTIAL: found.missing}} if found.missing else {})}
    try:
        wanted = _params(params).cursor
    except msgspec.DecodeError:
        wanted = ""
    items = found.items
    if size or wanted is not None:
        cut = cursor.page(method, [_name(method, item) for item in items], size, wanted)
        if cut is None:
            raise UnknownTarget("params.cursor is none of this list; it may have changed: list it again from the start")
        items = items[cut.start : cut.end]
        if cut.following is not None:
            result["nextCursor"] = cut.following
    result[LISTS[method]] = [item.data for item in items]
    return jsonrpc.encode(result)


def _name(method: str, item: Item) -> str:
    key = _KEYS.get(method)
    return item.name if key is None else str(item.data.get(key))
