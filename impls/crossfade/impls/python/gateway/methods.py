"""Owns the methods that are answered by a coroutine: everything but the straight relay of ``tools/call``.

The same for both eras; what differs is in ``Caller``. Rule: params go on with every field they came with (decoded one
level deep into raw values), and a result goes back byte for byte, but for what the caller's era adds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from crossfade.impls.errors import CrossfadeError, RemoteError, UnknownTarget
from crossfade.impls.python import jsonrpc
from crossfade.impls.python.codes import code_to_modern, http_status
from crossfade.impls.python.gateway import offer, paging
from crossfade.impls.python.gateway.bridge import Bridged
from crossfade.impls.python.gateway.http_answer import HttpAnswer, not_found
from crossfade.impls.python.gateway.listen import SUBSCRIBING, subscribed
from crossfade.impls.python.gateway.principal import ANONYMOUS
from crossfade.impls.python.gateway.voices import read_level
from crossfade.impls.python.jsonrpc import LISTS
from crossfade.impls.python.translate import result_to_modern

if TYPE_CHECKING:
    from crossfade.impls.python.ask import Ticket
    from crossfade.impls.python.gateway.sessions import Session
    from crossfade.impls.python.gateway.speech import Speaker
    from crossfade.impls.python.gateway.suspended import SuspendedCalls
    from crossfade.impls.python.manager import PythonManager
    from crossfade.impls.python.server import Server

_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_text = msgspec.json.Decoder(str).decode
_object = msgspec.json.Decoder(dict[str, Any]).decode


class Caller(NamedTuple):
    """Who asks: a modern client, or a legacy one with its session (None on stdio before initialize).

    ``principal`` is on whose behalf, as ``gateway.principal`` names it; ``speaker`` takes what is said before the
    answer, and ``suspended`` are the calls that wait for a modern client's input.
    """

    modern: bool
    session: Session | None = None
    principal: str = ANONYMOUS
    speaker: Speaker | None = None
    suspended: SuspendedCalls | None = None


class _Request(msgspec.Struct):
    params: msgspec.Raw = msgspec.Raw(b"{}")


_request = msgspec.json.Decoder(_Request).decode


def params_of(body: bytes) -> bytes:
    """The raw params of a request that was parsed already."""
    return bytes(_request(body).params)


def fields(raw: bytes | msgspec.Raw) -> dict[str, msgspec.Raw]:
    """An object one level deep, its values as they stand."""
    return _fields(raw)


def fields_of(body: bytes) -> dict[str, msgspec.Raw]:
    """The params of a request that was parsed already, one level deep."""
    return _fields(_request(body).params)


async def answer(
    manager: PythonManager,
    caller: Caller,
    method: str,
    raw_id: bytes,
    params: bytes,
    *,
    ticket: Ticket | None = None,
) -> HttpAnswer:
    """The response to one request, errors included. ``ticket`` says what it has behind it already."""
    try:
        if manager.serving is None:
            result = await _result(manager, caller, method, params, ticket)
        else:
            result = await manager.serving(method, params, lambda p: _result(manager, caller, method, p, ticket))
        if result is not None and caller.modern:
            result = result_to_modern(method, result)
    except CrossfadeError as error:
        if caller.modern and isinstance(error, RemoteError):
            code = error.remote_code = code_to_modern(method, error.remote_code)
            return HttpAnswer(http_status(code), jsonrpc.error_of(raw_id, error))
        return HttpAnswer(200, jsonrpc.error_of(raw_id, error))
    if result is None:
        if caller.modern:
            return not_found(raw_id, method)
        return HttpAnswer(200, jsonrpc.error(raw_id, jsonrpc.METHOD_NOT_FOUND, f"Method not found: {method}"))
    return HttpAnswer(200, jsonrpc.result(raw_id, result))


async def _result(  # noqa: PLR0911  one per method with an answer of its own
    manager: PythonManager, caller: Caller, method: str, params: bytes, ticket: Ticket | None
) -> bytes | None:
    if method in LISTS:
        found = await manager.catalog.listing(method, caller.principal)
        return paging.page(method, params, found, manager.config.gateway.page_size, modern=caller.modern)
    if method == "server/discover" and caller.modern:
        servers = list(manager.registry.values())
        await offer.meet(servers)
        return offer.discover(servers)
    if method == "ping" and not caller.modern:
        return b"{}"
    if method == "logging/setLevel" and caller.session is not None:
        await caller.session.upstream.set_level(read_level(params))
        return b"{}"
    if method in SUBSCRIBING and caller.session is not None:
        return await subscribed(manager, caller.session, method, params)
    try:
        fields = dict(_fields(params))
    except msgspec.DecodeError as error:
        raise UnknownTarget(f"params: {error}; send an object") from None
    target = await _target(manager, method, fields)
    if target is None:
        return None
    server, own = target
    return await Bridged(manager, caller, server, method, params).send(fields, own, ticket)


async def _target(
    manager: PythonManager, method: str, fields: dict[str, msgspec.Raw]
) -> tuple[Server, str | None] | None:
    """Who answers, and what for in its own words, which replace the client's in ``fields``; None: nobody ever does."""
    own: str | None
    if method in ("tools/call", "prompts/get"):
        name = _string(fields, "name")
        server, own = await manager.catalog.resolve(name, "tools/list" if method == "tools/call" else "prompts/list")
        fields["name"] = msgspec.Raw(jsonrpc.encode(own))
    elif method == "resources/read":
        own = _string(fields, "uri")
        server = await manager.catalog.owner(own)
    elif method == "completion/complete":
        try:
            ref = _object(fields.get("ref", b""))
        except msgspec.DecodeError:
            raise UnknownTarget("params.ref is missing or no object; send it") from None
        server, own_ref = await manager.completion_target(ref, None)
        fields["ref"] = msgspec.Raw(jsonrpc.encode(own_ref))
        own = None
    else:
        return None
    return server, own


def _string(fields: dict[str, msgspec.Raw], key: str) -> str:
    try:
        return _text(fields[key])
    except (KeyError, msgspec.DecodeError):
        raise UnknownTarget(f"params.{key} is missing; send what the method requires") from None
