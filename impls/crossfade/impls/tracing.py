"""Owns the OpenTelemetry spans of MCP calls: a CLIENT span in process, a SERVER span at the Python shell's gateway,
and the context that is carried on in ``_meta``.

Names, attributes and propagation follow the semantic conventions for MCP (open-telemetry/semantic-conventions-genai,
``docs/gen-ai/mcp.md``, status Development) and SEP-414: ``traceparent``, ``tracestate`` and ``baggage`` stand in
``params._meta`` without a prefix. Lists carry none: one call is many requests, and may be none at all.

Rules: only the API is used, so whoever runs the program chooses SDK, sampler and exporter; a context that the caller
gave is not replaced; a manager that was opened without ``telemetry.otel`` has none of this code on its path.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import msgspec
from opentelemetry import propagate, trace
from opentelemetry.trace import Span, SpanKind, Status, StatusCode

from crossfade.impls.api import Manager
from crossfade.impls.errors import CrossfadeError, RemoteError
from crossfade.impls.names import split
from crossfade.impls.results import CallResult

METHODS: Final = {
    "call_tool": "tools/call",
    "read_resource": "resources/read",
    "get_prompt": "prompts/get",
    "complete": "completion/complete",
    "list_tools": "tools/list",
    "list_resources": "resources/list",
    "list_resource_templates": "resources/templates/list",
    "list_prompts": "prompts/list",
}
CONTEXT_KEY: Final = "traceparent"
SERVER: Final = "crossfade.server"
"""The name of the server in the configuration, where the request says or tells it."""

Call = Callable[..., Awaitable[Any]]
_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_encode = msgspec.json.encode


class _Verdict(msgspec.Struct, rename="camel"):
    is_error: Any = False


_verdict = msgspec.json.Decoder(_Verdict).decode


def traced(cls: type[Manager]) -> type[Manager]:
    """A subclass of a variant's class whose MCP calls are spans."""
    spanned = {name: _spanned(getattr(cls, name), method, cls.variant) for name, method in METHODS.items()}
    return type(cls.__name__, (cls,), {**spanned, "serving": staticmethod(serving)})


def _spanned(call: Call, method: str, variant: str) -> Call:
    first = list(inspect.signature(call).parameters)[1]  # behind self: the name, the URI, the ref, or the server
    carries = not method.endswith("/list")

    @functools.wraps(call)
    async def traced_call(self: Manager, *args: Any, **options: Any) -> Any:
        target = args[0] if args else options.get(first)
        attributes = attributes_of(method, target, options.get("server") if carries else target)
        with spanning(method, SpanKind.CLIENT, {**attributes, "crossfade.variant": variant}) as span:
            if carries:
                options["meta"] = with_context(options.get("meta"))
            result = await call(self, *args, **options)
            if isinstance(result, CallResult) and span.is_recording():
                judge(span, result.raw)
            return result

    return traced_call


def attributes_of(method: str, target: Any, server: str | None) -> dict[str, str]:
    """What a span says of its request. ``target`` is the first parameter of the call."""
    found = {"mcp.method.name": method}
    if method == "tools/call":
        found |= {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": str(target)}
    elif method == "prompts/get":
        found["gen_ai.prompt.name"] = str(target)
    elif method == "resources/read":
        found["mcp.resource.uri"] = str(target)
    elif method == "completion/complete" and isinstance(target, Mapping) and "uri" in target:
        found["mcp.resource.uri"] = str(target["uri"])
    elif method == "completion/complete" and isinstance(target, Mapping):
        found["gen_ai.prompt.name"] = str(target.get("name"))
    name = found.get("gen_ai.tool.name") or found.get("gen_ai.prompt.name")
    if server is None and name is not None and (parts := split(name)) is not None:
        server = parts[0]
    return found if server is None else {**found, SERVER: server}


@contextmanager
def spanning(method: str, kind: SpanKind, attributes: Mapping[str, str], parent: Any = None) -> Iterator[Span]:
    """A span that is the current one while the block runs, and says how the block ended."""
    target = attributes.get("gen_ai.tool.name") or attributes.get("gen_ai.prompt.name")
    with trace.get_tracer("crossfade").start_as_current_span(
        f"{method} {target}" if target else method,
        parent,
        kind,
        attributes,
        record_exception=False,
        set_status_on_exception=False,
    ) as span:
        try:
            yield span
        except CrossfadeError as error:
            failed(span, error)
            raise
        except asyncio.CancelledError:
            span.set_attribute("error.type", "cancelled")
            span.set_status(Status(StatusCode.ERROR, "the caller cancelled it"))
            raise


def failed(span: Span, error: CrossfadeError) -> None:
    """A server's own error by its JSON-RPC code, any other by its ``code`` in the error tree."""
    kind = error.code
    if isinstance(error, RemoteError):
        kind = str(error.remote_code)
        span.set_attribute("rpc.response.status_code", kind)
    span.set_attribute("error.type", kind)
    if error.server is not None:
        span.set_attribute(SERVER, error.server)
    span.set_status(Status(StatusCode.ERROR, error.message))


def judge(span: Span, result: bytes) -> None:
    """A tool that reports failure did answer; the span says so all the same."""
    if _verdict(result).is_error is True:
        span.set_attribute("error.type", "tool_error")
        span.set_status(Status(StatusCode.ERROR))


def with_context(meta: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """``meta`` with the current span's context, unless it brings one of its own."""
    if meta is not None and CONTEXT_KEY in meta:
        return meta
    carrier: dict[str, Any] = {}
    propagate.inject(carrier)
    return {**carrier, **(meta or {})} if carrier else meta


async def serving(method: str, params: bytes, work: Callable[[bytes], Awaitable[bytes | None]]) -> bytes | None:
    """One request of a gateway's client: a span below the client's, above the server's.

    The gateway is one hop, so it has one span; its context takes the place of the client's. Baggage stays.
    """
    try:
        fields = _fields(params)
        meta = _fields(fields["_meta"]) if "_meta" in fields else {}
        told = {key: msgspec.json.decode(fields[key]) for key in ("name", "uri", "ref") if key in fields}
        given = {key: msgspec.json.decode(meta[key]) for key in propagate.get_global_textmap().fields if key in meta}
    except msgspec.DecodeError:
        return await work(params)  # which says what is wrong with them
    parent = propagate.extract({key: value for key, value in given.items() if isinstance(value, str)})
    target = told.get("name", told.get("uri", told.get("ref")))
    with spanning(method, SpanKind.SERVER, attributes_of(method, target, None), parent) as span:
        carrier: dict[str, str] = {}
        propagate.inject(carrier)
        if carrier:
            params = _encode({**fields, "_meta": {**meta, **carrier}})
        result = await work(params)
        if result is None:
            span.set_attribute("error.type", "-32601")
            span.set_status(Status(StatusCode.ERROR, "method not found"))
        elif method == "tools/call" and span.is_recording():
            judge(span, result)
        return result
