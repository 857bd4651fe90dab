"""Owns what is peculiar to legacy clients: the handshake, their session, their stream, and messages that are no
requests.

Sources: 2025-11-25 basic/lifecycle and basic/transports. Rule: a session is asked for by ``initialize`` only;
everything else needs one, and gets 400 without and 404 with one that is gone.
"""

from __future__ import annotations

from time import monotonic_ns
from typing import TYPE_CHECKING

import msgspec

from crossfade.impls.python import jsonrpc, session_rules
from crossfade.impls.python.envelope import Message
from crossfade.impls.python.gateway import lasting, methods, offer
from crossfade.impls.python.gateway.http_answer import ACCEPTED, HttpAnswer, refused
from crossfade.impls.python.gateway.principal import principal_of
from crossfade.impls.python.gateway.sessions import Session, guest_of
from crossfade.impls.python.http_head import RequestHead

if TYPE_CHECKING:
    from crossfade.impls.python.gateway.client import ClientConnection
    from crossfade.impls.python.gateway.server import GatewayServer


def handshake(client: ClientConnection, head: RequestHead, raw_id: bytes, params: bytes | None) -> None:
    """Answer ``initialize`` with a new session."""
    agreed = session_rules.agree(params)
    if params is None or agreed is None:
        client.respond(HttpAnswer(200, jsonrpc.error(raw_id, jsonrpc.INVALID_PARAMS, session_rules.NO_PARAMS)))
        return
    principal = principal_of(head, client.gateway.principal_header)
    if offer.strangers(client.gateway.manager.registry.values()):
        client.run(_handshake(client.gateway, principal, raw_id, params, agreed))
    else:
        client.respond(_welcome(client.gateway, principal, raw_id, params, agreed))


async def _handshake(gateway: GatewayServer, principal: str, raw_id: bytes, params: bytes, agreed: str) -> HttpAnswer:
    await offer.meet(list(gateway.manager.registry.values()))
    return _welcome(gateway, principal, raw_id, params, agreed)


def _welcome(gateway: GatewayServer, principal: str, raw_id: bytes, params: bytes, agreed: str) -> HttpAnswer:
    if (crowded_out := gateway.sessions.crowded_out()) is not None:
        gateway.end_session(crowded_out)
    session = gateway.sessions.open(agreed, guest_of(params), principal)
    if session is None:
        most = gateway.spec.max_sessions
        why = f"all {most} sessions are in use; end one, or raise gateway.maxSessions"
        return HttpAnswer(503, jsonrpc.error(raw_id, jsonrpc.INVALID_REQUEST, why))
    result = offer.initialize(list(gateway.manager.registry.values()), session.version)
    return HttpAnswer(200, jsonrpc.result(raw_id, result), headers=(f"Mcp-Session-Id: {session.id}",))


def session_of(gateway: GatewayServer, head: RequestHead, raw_id: bytes | None) -> Session | HttpAnswer:
    """The session of a request, or what to answer if it has none."""
    caller = principal_of(head, gateway.principal_header)
    session = None if head.session is None else gateway.sessions.get(head.session, caller, monotonic_ns())
    refusal = session_rules.verdict(head.version, held=head.session is not None, known=session is not None)
    if refusal is not None:
        return refused(raw_id, refusal)
    assert session is not None  # noqa: S101  or it would have been refused
    return session


def get(client: ClientConnection, head: RequestHead) -> None:
    """GET: the server's stream of a session, or the rest of one that was lost."""
    session = session_of(client.gateway, head, None)
    if isinstance(session, HttpAnswer):
        client.respond(session)
    else:
        client.use(session)
        lasting.open_get(client, session, head.header(b"last-event-id"))


def delete(client: ClientConnection, head: RequestHead) -> None:
    """DELETE ends a session and what belongs to it upstream."""
    session = session_of(client.gateway, head, None)
    if isinstance(session, HttpAnswer):
        client.respond(session)
        return
    client.gateway.sessions.close(session.id)
    client.gateway.end_session(session)
    client.respond(HttpAnswer(204))


def accepted(gateway: GatewayServer, head: RequestHead, message: Message, body: bytes) -> HttpAnswer:
    """The answer to a notification or a response."""
    if message.method == "initialize":
        why = "initialize is a request; send an id"
        return HttpAnswer(400, jsonrpc.error(None, jsonrpc.INVALID_REQUEST, why))
    session = session_of(gateway, head, None)
    if isinstance(session, HttpAnswer):
        return session
    if message.method is msgspec.UNSET:
        session.questions.answered(body)
    elif message.method == "notifications/cancelled":
        raw_id = cancelled_id(body)
        for client in list(gateway.clients):
            if client.job is not None and client.call == (session, raw_id):
                client.revoke()
        job = session.streams.alone.get(raw_id) if session.streams is not None else None
        if job is not None:
            job.revoke()
    else:
        noted(session, message.method, body)
    return ACCEPTED


def noted(session: Session, method: str, body: bytes) -> None:
    """A notification that is some server's business: progress with what it asked, and that the roots have changed."""
    if method == "notifications/progress":
        session.questions.progressed(methods.params_of(body))
    elif method == "notifications/roots/list_changed":
        session.upstream.tell(jsonrpc.notification(method, methods.params_of(body)))


def cancelled_id(body: bytes) -> bytes:
    """The id that ``notifications/cancelled`` names, as JSON; empty if it names none."""
    try:
        return bytes(methods.fields_of(body).get("requestId", b""))
    except msgspec.DecodeError:
        return b""
