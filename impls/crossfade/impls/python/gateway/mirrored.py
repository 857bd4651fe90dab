"""Owns the comparison of ``Mcp-Param-*`` headers with the arguments that they repeat, where this hop is the last that
sees them: before children, servers of revisions without them, and whenever the headers are written anew.

Rule: what is compared is what the tool's definition marks (``x-mcp-header``), as it was listed last; a request that
brings such a header makes an unknown definition be asked for. The straight way to a modern HTTP server passes them on
untouched instead: an intermediary that does not act on a header "MUST forward it and otherwise ignore it", and the
server checks (streamable-http "Server Behavior for Custom Headers").
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from crossfade.impls.python import jsonrpc
from crossfade.impls.python.gateway.http_answer import HttpAnswer
from crossfade.impls.python.gateway.methods import fields_of
from crossfade.impls.python.translate import arguments_of, header_mismatch

if TYPE_CHECKING:
    from crossfade.impls.python.gateway.routes import Route
    from crossfade.impls.python.gateway.toolcall import ToolCall


def settled(call: ToolCall, route: Route) -> bool:
    """Whether there is nothing to compare, as far as is known without asking."""
    known = call.client.gateway.manager.catalog.annotations.get((route.server.spec.name, route.own))
    return not call.head.params if known is None else not known


async def refusal(call: ToolCall) -> HttpAnswer | None:
    """The answer to a modern client whose headers say otherwise than its arguments, or None. Raises what the server's
    list fails with.
    """
    gateway = call.client.gateway
    route = call.route or gateway.routes.get(call.name) or await gateway.routes.ask(call.name)
    if call.session is not None or settled(call, route):
        return None
    catalog, key = gateway.manager.catalog, (route.server.spec.name, route.own)
    if key not in catalog.annotations:
        await catalog.items("tools/list", route.server.spec.name)
    raw = fields_of(call.body).get("arguments")
    arguments = arguments_of(raw) if isinstance(raw, msgspec.Raw) else None
    wrong = header_mismatch(catalog.annotations.get(key, {}), arguments, call.head.params)
    if wrong is None:
        return None
    why = f"Header mismatch: {wrong} is not what the argument says; list the tools, and send what their schema marks"
    return HttpAnswer(400, jsonrpc.error(call.raw_id, jsonrpc.HEADER_MISMATCH, why))
