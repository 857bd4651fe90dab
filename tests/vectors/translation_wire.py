"""The other half of :mod:`tests.vectors.translation`: what a hop changes, and how it reads what arrives."""

from __future__ import annotations

import base64
from typing import Any

import msgspec

from crossfade.impls import names
from crossfade.impls.errors import ProtocolViolation
from crossfade.impls.python import translate
from crossfade.impls.python.ask import encode_params
from crossfade.impls.python.body_watch import BodyWatch
from crossfade.impls.python.canonical import canonical
from crossfade.impls.python.envelope import CAPABILITIES_KEY, EnvelopeError, parse
from crossfade.impls.python.http_chunks import ResponseChunks
from crossfade.impls.python.http_head import BadHead, RequestHead, ResponseHead
from crossfade.impls.python.sse import EventReader, EventTooLong

BAD = {"bad": True}
_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_SET = msgspec.UNSET


def expose(server: str, name: str) -> str:
    return names.exposed(server, name)


def envelope(body: bytes) -> Any:
    try:
        message = parse(body)
    except EnvelopeError:
        return BAD
    params = message.params
    meta = _SET if params is _SET else params.meta
    found = {
        "method": message.method,
        "id": message.id,
        "name": _SET if params is _SET else params.name,
        "uri": _SET if params is _SET else params.uri,
        "version": _SET if meta is _SET else meta.version,
        "capabilities": _SET if meta is _SET else meta.capabilities,
    }
    texts = {key: bytes(value).decode() if isinstance(value, msgspec.Raw) else value for key, value in found.items()}
    return {key: value for key, value in texts.items() if value is not _SET}


def watch(body: bytes, step: int) -> Any:
    found = BodyWatch()
    try:
        for at in range(0, len(body), step):
            found.feed(body[at : at + step])
        found.end()
    except EnvelopeError:
        return BAD
    return {"named": found.named}


def meta(era: Any, params: bytes, capabilities: bytes) -> bytes | None:
    message = b'{"jsonrpc":"2.0","method":"m","params":' + params + b"}"
    if envelope(message) == BAD:  # said before anybody sees params
        return None
    try:
        fields: dict[str, Any] = _fields(params)
        raw = fields.pop("_meta", None)
        found: dict[str, Any] = {} if raw is None else _fields(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    if era == "modern":
        found[CAPABILITIES_KEY] = msgspec.Raw(capabilities)
    return canonical(encode_params(era, fields, found))


def result(method: str, raw: bytes) -> bytes | None:
    try:
        return translate.result_to_modern(method, raw)
    except ProtocolViolation:
        return None


def header_read(value: bytes) -> str | None:
    return translate.header_text(value.decode("latin-1"))


def header_annotations(schema: bytes) -> Any:
    found = translate.header_annotations(msgspec.json.decode(schema))
    return None if found is None else {name: list(path) for name, path in found.items()}


def header_mismatch(schema: bytes, params: bytes, headers: dict[str, str]) -> str | None:
    annotations = translate.header_annotations(msgspec.json.decode(schema))
    raw = _fields(params).get("arguments")
    arguments = None if raw is None else translate.arguments_of(raw)
    sent = {name.lower(): value for name, value in headers.items()}
    return translate.header_mismatch(annotations or {}, arguments, sent)


def header_params(schema: bytes, params: bytes) -> Any:
    annotations = translate.header_annotations(msgspec.json.decode(schema))
    raw = _fields(params).get("arguments")
    arguments = None if raw is None else translate.arguments_of(raw)
    return dict(translate.header_params(annotations or {}, arguments))


def events(stream: bytes, step: int, limit: int) -> list[bytes] | None:
    reader = EventReader(limit)
    try:
        found = [event for at in range(0, len(stream), step) for event in reader.feed(stream[at : at + step])]
    except EventTooLong:
        return None
    return [event.data for event in found]


def _value(text: str | None) -> Any:
    """A header's value: httptools has it as bytes, RequestHead as Latin-1."""
    if text is None or text.isascii():
        return text
    raw = text.encode("latin-1")
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return {"b64": base64.b64encode(raw).decode()}


def _length(length: int) -> int | str:
    return {-1: "chunked", -2: "close"}.get(length, length)


def http_request(raw: bytes) -> Any:
    try:
        head = RequestHead(raw)
        host, origin = head.header(b"host"), head.header(b"origin")
    except BadHead:
        return BAD
    if host is None:  # said by gateway.access
        return BAD
    return {
        "method": head.method if head.method in ("GET", "HEAD", "POST", "DELETE") else "other",
        "length": _length(head.length),
        "keep_alive": head.keep_alive,
        "expect": head.expect,
        "host": _value(host),
        "origin": _value(origin),
        "session": _value(head.session),
        "version": _value(head.version),
        "mcp_method": _value(head.mcp_method),
        "mcp_name": _value(head.mcp_name),
    }


def http_response(raw: bytes) -> Any:
    try:
        head = ResponseHead(raw)
    except BadHead:
        return BAD
    return {
        "status": head.status,
        "length": _length(head.length),
        "keep_alive": head.keep_alive,
        "json": head.is_json,
        "events": head.is_sse,
        "session": _value(head.session),
    }


def http_chunks(raw: bytes, step: int) -> tuple[bytes, bool] | None:
    reader = ResponseChunks()
    try:
        payload = b"".join([reader.feed(raw[at : at + step]) for at in range(0, len(raw), step)])
    except ValueError:
        return None
    return payload, reader.done
