"""Owns the decision what becomes of a request: the straight relay, a coroutine, or an answer on the spot.

Rule: ``post`` is the hot route. It takes the relay if name, era and instance are known already, and no byte of the
request needs more than a splice; everything else goes the long way round, which also teaches the memories that the next
one uses.
"""

from __future__ import annotations

from time import monotonic_ns
from typing import TYPE_CHECKING

import msgspec

from crossfade.impls.errors import CrossfadeError
from crossfade.impls.python import jsonrpc, session_rules
from crossfade.impls.python.ask import encode_params
from crossfade.impls.python.body_watch import BodyWatch
from crossfade.impls.python.envelope import Envelope, EnvelopeError, Message, find_once, scan
from crossfade.impls.python.gateway import admin, legacy, methods, mirrored
from crossfade.impls.python.gateway.access import Endpoint
from crossfade.impls.python.gateway.http_answer import ACCEPTED, HttpAnswer, refused
from crossfade.impls.python.gateway.lasting import ListenJob
from crossfade.impls.python.gateway.principal import principal_of
from crossfade.impls.python.gateway.relay import HttpRelay
from crossfade.impls.python.gateway.relay_stdio import StdioRelay
from crossfade.impls.python.gateway.routes import Route
from crossfade.impls.python.gateway.speech import Speech
from crossfade.impls.python.gateway.toolcall import ToolCall
from crossfade.impls.python.gateway.voices import bridged
from crossfade.impls.python.http_head import RequestHead
from crossfade.impls.python.jsonrpc import LEGACY, MODERN
from crossfade.impls.python.translate import header_text
from crossfade.impls.python.updating import Use
from crossfade.impls.python.upstream_http import HttpInstance
from crossfade.impls.python.upstream_stdio import StdioInstance

if TYPE_CHECKING:
    from crossfade.impls.python.gateway.client import ClientConnection
    from crossfade.impls.python.gateway.jobs import Job
    from crossfade.impls.python.gateway.sessions import Session

_UNSET = msgspec.UNSET
_text = msgspec.json.Decoder(str).decode


def post(client: ClientConnection, head: RequestHead, message: Message, body: bytes) -> None:  # noqa: PLR0911  one per way out
    """A whole message that was POSTed to /mcp."""
    method = message.method
    raw_id = None if message.id is _UNSET else bytes(message.id)
    if raw_id is None or method is _UNSET:
        client.respond(_told(client, head, message, body))
        return
    if session_rules.is_modern(head.version, message):
        refusal = session_rules.modern_verdict(head, message)
        if refusal is not None:
            client.respond(refused(raw_id, refusal))
            return
        if method == "subscriptions/listen":
            ListenJob(client, raw_id, methods.params_of(body))
            return
        session: Session | None = None
    else:
        if method == "initialize":
            params = None if message.params is _UNSET else methods.params_of(body)
            legacy.handshake(client, head, raw_id, params)
            return
        found = legacy.session_of(client.gateway, head, raw_id)
        if isinstance(found, HttpAnswer):
            client.respond(found)
            return
        session = found
        client.use(found, raw_id)
    if method == "tools/call" and message.params is not _UNSET and message.params.name is not _UNSET:
        call = ToolCall(client, head, session, bytes(message.params.name), raw_id=raw_id, body=body)
        routes = client.gateway.routes
        is_text = call.name[:1] == b'"'
        try:
            route = routes.get(call.name) or (routes.find(call.name) if is_text else None)
            if route is not None and (route.server.calls.plain or call.enter_now(route)) and _relay(call, route):
                return
        except CrossfadeError as error:
            call.leave()
            client.fail(raw_id, error)
            return
        call.leave()
        if is_text:
            client.run(_prepare(call))
            return
    speech = Speech(client, session=session)
    gateway = client.gateway
    principal = principal_of(head, gateway.principal_header)
    caller = methods.Caller(session is None, session, principal, speech, gateway.suspended)
    client.run(methods.answer(gateway.manager, caller, method, raw_id, methods.params_of(body)), speech=speech)


def _told(client: ClientConnection, head: RequestHead, message: Message, body: bytes) -> HttpAnswer:
    """The answer to what asks for none: a notification, or a response."""
    if session_rules.is_modern(head.version, message):
        refusal = session_rules.modern_verdict(head, message)
        return ACCEPTED if refusal is None else refused(None, refusal)
    return legacy.accepted(client.gateway, head, message, body)


async def _prepare(call: ToolCall) -> HttpAnswer | None:
    """Learn what the straight way needs (route, era, a place, the client's session upstream) and take it; else the
    long way.
    """
    gateway, session = call.client.gateway, call.session
    relayed = False
    try:
        route = gateway.routes.get(call.name) or await gateway.routes.ask(call.name)
        server = route.server
        if not server.calls.plain:
            await call.enter(route)
        instance = server.only
        if instance is not None and server.straight:
            with Use(instance):
                peer = await instance.ready()
                own_session = session is not None and peer.era == "legacy" and not server.spec.stateless
                if own_session and session is not None and isinstance(instance, HttpInstance):
                    await instance.session_for(session.upstream, monotonic_ns() + server.timeout_ns)
        if not server.calls.hedges("tools/call", route.own):
            relayed = _relay(call, route)
        return None if relayed else await call.answer()
    except CrossfadeError as error:
        gateway.manager.stats.errors_by_code[error.code] += 1
        return HttpAnswer(200, jsonrpc.error_of(call.raw_id, error))
    finally:
        if not relayed:
            call.leave()


def _relay(call: ToolCall, route: Route) -> bool:
    """Take the straight way if there is one. Raises CrossfadeError if nobody may be called."""
    server = route.server
    if not server.straight:
        return False
    calls = server.calls
    call.route = route
    if not route.http:
        return _relay_stdio(call, route)
    now = monotonic_ns()
    session = call.session
    if server.only is None and session is not None and not server.spec.stateless:
        return False  # the session is with one of them
    instance = server.choose(now, (), call.key if calls.affinity is not None else 0)
    assert isinstance(instance, HttpInstance)  # noqa: S101  the route says so
    prefix = _forward_head(call.head, route, instance, session)
    body, name, own = call.body, call.name, route.raw
    if prefix is None:
        instance.breaker.forget(now)
        return False
    if own != name:
        at = find_once(body, name)
        if at < 0:
            try:
                key = scan(body, complete=True).key
            except EnvelopeError:
                key = None
            if key is None:
                instance.breaker.forget(now)
                return False
            at = key[0]
        length = len(body) - len(name) + len(own)
        data = b"%b%d\r\n\r\n%b%b%b" % (prefix, length, body[:at], own, body[at + len(name) :])
    else:
        data = b"%b%d\r\n\r\n%b" % (prefix, len(body), body)
    relay = HttpRelay(call, instance, data)
    call.client.job = relay
    if calls.repeating.tools:
        calls.repeating.counted("tools/call", route.own)
    relay.start(now)
    return True


def _relay_stdio(call: ToolCall, route: Route) -> bool:
    if call.session is None and not mirrored.settled(call, route):
        return False
    now = monotonic_ns()
    calls = route.server.calls
    instance = route.server.choose(now, (), call.key if calls.affinity is not None else 0)
    assert isinstance(instance, StdioInstance)  # noqa: S101  the route says so
    peer = instance.peer
    if peer is None:
        instance.breaker.forget(now)
        return False
    fields = methods.fields_of(call.body)
    fields["name"] = msgspec.Raw(route.raw)
    raw_meta = fields.pop("_meta", None)
    meta = methods.fields(raw_meta) if raw_meta is not None else None
    if bridged(call.session, peer, meta):
        instance.breaker.forget(now)
        return False
    params = encode_params(peer.era, fields, meta)
    modern_to_legacy = call.session is None and peer.era == "legacy"
    relay = StdioRelay(call, instance, params, modern=modern_to_legacy)
    call.client.job = relay
    if calls.repeating.tools:
        calls.repeating.counted("tools/call", route.own)
    relay.start(now)
    return True


def _forward_head(  # noqa: PLR0911  one return per pair of eras
    head: RequestHead, route: Route, instance: HttpInstance, session: Session | None
) -> bytes | None:
    """The head to send upstream, up to the length; None if the request needs more than a new head and a new name."""
    peer = instance.peer
    if peer is None or instance.pipes is not None:
        return None
    if session is None:
        if peer.era != "modern":
            return None
        if head.forward_for is route and head.forward_by is instance:
            return head.forward
        lines = (
            instance.head + b"MCP-Protocol-Version: %b\r\nMcp-Method: tools/call\r\n" % MODERN.encode() + route.header
        )
        for key, value in head.headers:
            if key.startswith(b"mcp-param-"):
                lines += key + b": " + value + b"\r\n"
        head.forward, head.forward_for, head.forward_by = lines + b"Content-Length: ", route, instance
        return head.forward
    if peer.era != "legacy":
        return None
    # A session that clients share needs ids of our own, and so does one that is not open yet.
    if route.server.spec.stateless or instance not in session.upstream:
        return None
    return instance.legacy_head(session.upstream[instance])


def stream(  # noqa: PLR0911, PLR0912  one return per reason to wait for the rest
    client: ClientConnection, head: RequestHead, envelope: Envelope, arrived: memoryview, length: int
) -> Job | None:
    """Start to pass on a long ``tools/call`` whose beginning has arrived; None to wait for all of it.

    Of a modern request the headers say era, method and name; the body must agree as far as it has arrived. What arrives
    later is watched: it may not name another tool. Raises EnvelopeError if it does so already.
    """
    if not envelope.jsonrpc or envelope.method != "tools/call" or envelope.key is None or envelope.id is None:
        return None
    start, end = envelope.key
    name = bytes(arrived[start:end])
    route = client.gateway.routes.get(name)
    if route is None or not route.http or route.server.only is None or not route.server.straight:
        return None
    session: Session | None = None
    if head.version == MODERN:
        if head.mcp_method != "tools/call" or head.mcp_name is None or header_text(head.mcp_name) != route.exposed:
            return None
        if envelope.version not in (None, MODERN):
            return None
    elif head.version in LEGACY and head.session is not None and envelope.version is None:
        principal = principal_of(head, client.gateway.principal_header)
        session = client.gateway.sessions.get(head.session, principal, monotonic_ns())
        if session is None:
            return None
    else:
        return None
    raw_id = bytes(arrived[envelope.id[0] : envelope.id[1]])
    instance = route.server.only
    assert isinstance(instance, HttpInstance)  # noqa: S101  the route says so
    prefix = _forward_head(head, route, instance, session)
    if prefix is None:
        return None
    watch = BodyWatch()
    watch.feed(bytes(arrived))
    if len(arrived) == length:
        watch.end()
    if not watch.named:
        return None  # what has been found is not the name
    call = ToolCall(client, head, session, name, raw_id=raw_id)
    call.route = route
    refusal: CrossfadeError | None = None
    try:
        if not route.server.calls.plain and not call.enter_now(route):
            return None
    except CrossfadeError as error:
        refusal = error
    now = monotonic_ns()
    data = b"%b%d\r\n\r\n%b%b" % (prefix, length - len(name) + len(route.raw), bytes(arrived[:start]), route.raw)
    relay = HttpRelay(call, instance, data, tail=arrived[end:], unsent=length - len(arrived), watch=watch)
    client.job = relay
    if session is not None:
        client.use(session, raw_id)
    try:
        if refusal is not None:
            raise refusal
        route.server.choose(now)
    except CrossfadeError as error:
        call.leave()
        client.fail(raw_id, error)
        return relay
    relay.start(now)
    return relay


def other(client: ClientConnection, head: RequestHead, verdict: Endpoint) -> None:
    """Everything that is not a POST."""
    if verdict is Endpoint.GET:
        legacy.get(client, head)
    elif verdict is Endpoint.DELETE:
        legacy.delete(client, head)
    else:
        page = admin.metrics if verdict is Endpoint.METRICS else admin.healthz
        client.respond(page(client.gateway.manager)._replace(bare=head.method == "HEAD"))
