r"""Owns the reading of a JSON-RPC envelope: what a relay must know, and where in the bytes it stands.

Two readers of the same thing, held equal by tests (``tests/impls_python/test_envelope.py``) and by the vectors
``impls/vectors/envelope.jsonl`` that the Rust scanner replays:

- :func:`parse` takes a complete body. msgspec checks all of it and skips what nobody asked for; it must be a message
  of JSON-RPC 2.0.
- :func:`scan` takes the first bytes of a body that is still arriving. It is lexical: it balances brackets and strings,
  and stops where the bytes end. What it has not seen is None.

Rules: a key that a gateway looks at counts once (a second one is refused, as two readers that choose differently are a
hole: ``ENVELOPE.md`` lists them); spans are byte offsets into the body, so that a rewrite is a splice and every unknown
field survives.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, Literal

import msgspec

VERSION_KEY: Final = "io.modelcontextprotocol/protocolVersion"
CAPABILITIES_KEY: Final = "io.modelcontextprotocol/clientCapabilities"
CLIENT_INFO_KEY: Final = "io.modelcontextprotocol/clientInfo"

Span = tuple[int, int]


class EnvelopeError(ValueError):
    """The body is not a JSON-RPC message. ``code`` is the JSON-RPC error code: -32700 or -32600; ``raw_id`` is the id
    that it has all the same.
    """

    def __init__(self, code: int, message: str, raw_id: bytes | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.raw_id = raw_id


class Meta(msgspec.Struct, gc=False):
    """The keys of ``_meta`` that a hop looks at."""

    version: str | msgspec.UnsetType = msgspec.field(default=msgspec.UNSET, name=VERSION_KEY)
    capabilities: msgspec.Raw | msgspec.UnsetType = msgspec.field(default=msgspec.UNSET, name=CAPABILITIES_KEY)
    client_info: msgspec.Raw | msgspec.UnsetType = msgspec.field(default=msgspec.UNSET, name=CLIENT_INFO_KEY)


class Params(msgspec.Struct, gc=False):
    """The keys of ``params`` that a hop looks at; ``name`` and ``uri`` as they stand, quotes and escapes included.

    ``arguments`` is here to be left alone: what stands in it is no key of the envelope.
    """

    name: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    uri: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    meta: Meta | msgspec.UnsetType = msgspec.field(default=msgspec.UNSET, name="_meta")
    arguments: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class Message(msgspec.Struct, gc=False):
    """A whole message. A request has ``method`` and ``id``, a notification no ``id``, a response no ``method``, but
    ``result`` or ``error``.
    """

    jsonrpc: Literal["2.0"]
    method: str | msgspec.UnsetType = msgspec.UNSET
    id: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    params: Params | msgspec.UnsetType = msgspec.UNSET
    result: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    error: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _Identified(msgspec.Struct, gc=False):
    id: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


_decode_id = msgspec.json.Decoder(_Identified).decode
_decode = msgspec.json.Decoder(Message).decode
ID: Final = re.compile(rb'"(?:[^"\\]|\\.)*"|-?(?:0|[1-9][0-9]*)', re.DOTALL)


def parse(body: bytes) -> Message:
    """Read a complete body. Raises :class:`EnvelopeError`."""
    try:
        message = _decode(body)
        if not body.isascii():
            body.decode()  # msgspec does not look into strings that nobody asked for
    except msgspec.ValidationError as error:
        raise EnvelopeError(-32600, f"not a JSON-RPC message: {error}", _id_of(body)) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise EnvelopeError(-32700, f"not JSON: {error}") from None
    except RecursionError:
        raise EnvelopeError(-32700, "not JSON that can be read: it is nested too deeply; flatten it") from None
    if message.id is not msgspec.UNSET and not ID.fullmatch(message.id):
        raise EnvelopeError(-32600, "the id of a request must be a string or an integer")
    if message.method is msgspec.UNSET and message.result is msgspec.UNSET and message.error is msgspec.UNSET:
        why = "method is missing; send a request, a notification or a response"
        raise EnvelopeError(-32600, why, None if message.id is msgspec.UNSET else bytes(message.id))
    if _may_repeat(body, message):
        scan(body, complete=True)
    return message


def _id_of(body: bytes) -> bytes | None:
    """The id of what is no message, so that its sender knows what failed."""
    try:
        raw = _decode_id(body).id
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return bytes(raw) if raw is not msgspec.UNSET and ID.fullmatch(raw) else None


_COUNTED: Final = 2048
_KEYS: Final = (
    *(b'"name"', b'"method"', b'"params"', b'"_meta"', b'"id"', b'"uri"', b'/protocolVersion"'),
    *(b'"jsonrpc"', b'"result"', b'"error"', b'"ref"', b'"requestId"'),
)


def _may_repeat(body: bytes, message: Message) -> bool:
    """Whether a key of the envelope may stand twice: msgspec takes the last one and does not tell.

    A word that stands once outside of values that may hold anything is no second key, unless it is spelt with escapes.
    What only looks so costs one :func:`scan`, and so does a long body, in which so many words are not counted faster.
    """
    if len(body) > _COUNTED or b"\\u" in body:
        return True
    count = body.count
    if not (
        count(b'"method"') > 1
        or count(b'"params"') > 1
        or count(b'"_meta"') > 1
        or count(b'"id"') > 1
        or count(b'"uri"') > 1
        or count(b'"jsonrpc"') > 1
        or count(b'/protocolVersion"') > 1
        or count(b'"error"') > 1
        or count(b'"re') > 1  # result, ref, requestId
    ):
        named = count(b'"name"')
        # Nearly every request names its client beside its tool.
        return named > 1 and named - _inside(message.params).count(b'"name"') > 1
    inside = _inside(message.params)
    return any(count(key) - inside.count(key) > 1 for key in _KEYS)


def _inside(params: Params | msgspec.UnsetType) -> bytes:
    """The values of an envelope that may hold any keys."""
    if params is msgspec.UNSET:
        return b""
    free = b"" if params.arguments is msgspec.UNSET else bytes(params.arguments)
    if params.meta is not msgspec.UNSET and params.meta.client_info is not msgspec.UNSET:
        free += bytes(params.meta.client_info)
    return free


def find_once(body: bytes, token: bytes | memoryview) -> int:
    """Where ``token`` stands in ``body``, or -1 if it stands there twice: then only :func:`scan` knows which."""
    at = body.find(token)
    return -1 if body.find(token, at + 1) >= 0 else at


class Envelope:
    """What :func:`scan` saw. Spans include the quotes; ``key`` is the span of ``params.name`` or ``params.uri``.

    ``jsonrpc`` is whether that says ``"2.0"``, in these very bytes; ``params_open`` is the offset behind the brace of
    ``params`` and ``meta_open`` that of ``_meta``; ``end`` is the offset behind the whole object, None if the bytes
    ended before.
    """

    __slots__ = ("end", "id", "jsonrpc", "key", "meta", "meta_open", "method", "params", "params_open", "version")

    def __init__(self) -> None:
        self.jsonrpc = False
        self.method: str | None = None
        self.id: Span | None = None
        self.params: Span | None = None
        self.params_open: int | None = None
        self.key: Span | None = None
        self.meta: Span | None = None
        self.meta_open: int | None = None
        self.version: str | None = None
        self.end: int | None = None


_WS: Final = rb"[ \t\n\r]*"
# Possessive throughout: a string that is cut off must not be tried again from every byte of it.
STRING: Final = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
KEY: Final = re.compile(_WS + rb"(" + STRING + rb")" + _WS + rb":" + _WS, re.DOTALL)
_SCALAR: Final = re.compile(rb"(?:" + STRING + rb"|-?[0-9][0-9.eE+-]*|true|false|null)", re.DOTALL)
AFTER: Final = re.compile(_WS + rb"([,}])")
OPEN: Final = re.compile(_WS + rb"\{")
CLOSE: Final = re.compile(_WS + rb"\}")
_NESTED: Final = re.compile(rb"[{}\[\]]|" + STRING + rb'|"', re.DOTALL)
TOP: Final = frozenset({b'"method"', b'"id"', b'"params"'})
IN_PARAMS: Final = frozenset({b'"name"', b'"uri"', b'"_meta"'})
"""With :data:`TOP` the keys that a relayed call is routed by."""
_ON_TOP: Final = TOP | {b'"jsonrpc"', b'"result"', b'"error"'}
_ON_PARAMS: Final = IN_PARAMS | {b'"ref"', b'"requestId"'}
_IN_META: Final = frozenset({b'"' + VERSION_KEY.encode() + b'"'})


_OnMember = Callable[[bytes, bytes, int, Envelope], int]
"""Reads the value at an offset for a wanted key; returns the offset behind it."""


class _MoreError(Exception):
    """The bytes ended inside a value."""


def scan(data: bytes, *, complete: bool = False) -> Envelope:
    """Read the envelope from the first bytes of a message. Raises :class:`EnvelopeError` for what cannot become one.

    With ``complete``, bytes that end inside the object are an error too, and so is anything but white space behind it.
    """
    found = Envelope()
    try:
        _scan_object(data, _enter(data, 0), found, _ON_TOP, _on_top)
    except _MoreError:
        if complete:
            raise EnvelopeError(-32700, "not JSON: the body ends inside the message") from None
        return found
    if found.end is not None and data[found.end :].strip(b" \t\n\r"):
        raise EnvelopeError(-32700, f"not JSON: more bytes after the message, at offset {found.end}")
    return found


def _enter(data: bytes, at: int) -> int:
    opened = OPEN.match(data, at)
    if opened is None:
        rest = data[at:].strip(b" \t\n\r")
        if not rest:
            raise _MoreError
        if rest[:1] == b"[":
            raise EnvelopeError(-32600, "not a JSON-RPC message: batches are not supported; send one message per POST")
        raise EnvelopeError(-32700, "not a JSON-RPC message: it must be a JSON object")
    return opened.end()


def _scan_object(data: bytes, at: int, found: Envelope, wanted: frozenset[bytes], on_member: _OnMember) -> int:
    """Walk the members of one object from behind its brace; returns the offset behind its closing brace."""
    seen: set[bytes] = set()
    if (closed := CLOSE.match(data, at)) is not None:
        if wanted is _ON_TOP:
            found.end = closed.end()
        return closed.end()
    while True:
        key = KEY.match(data, at)
        if key is None:
            raise _more_or_error(data, at)
        name, start = key.group(1), key.end()
        if b"\\" in name:
            name = plain(name)
        if name in wanted:
            if name in seen:
                raise EnvelopeError(-32600, f"the key {name.decode()} stands twice; send it once")
            seen.add(name)
            end = on_member(data, name, start, found)
        else:
            end = skip(data, start)
        after = AFTER.match(data, end)
        if after is None:
            raise _more_or_error(data, end)
        at = after.end()
        if after.group(1) == b"}":
            if wanted is _ON_TOP:
                found.end = at
            return at


def _on_top(data: bytes, name: bytes, start: int, found: Envelope) -> int:
    if name == b'"params"':
        if data[start : start + 1] != b"{":
            skip(data, start)
            raise EnvelopeError(-32600, "params must be an object; send an object")
        found.params_open = start + 1
        end = _scan_object(data, start + 1, found, _ON_PARAMS, _on_params)
        found.params = (start, end)
        return end
    end = skip(data, start)
    if AFTER.match(data, end) is None:  # a number at the very end may go on
        raise _more_or_error(data, end)
    if name == b'"id"':
        if not ID.fullmatch(data, start, end):
            raise EnvelopeError(-32600, "the id of a request must be a string or an integer")
        found.id = (start, end)
    elif name == b'"jsonrpc"':
        found.jsonrpc = data[start:end] == b'"2.0"'
    elif name == b'"method"':
        found.method = _text(data, start, end, "method")
    return end


def _on_params(data: bytes, name: bytes, start: int, found: Envelope) -> int:
    if name == b'"_meta"':
        if data[start : start + 1] != b"{":
            skip(data, start)
            raise EnvelopeError(-32600, "params._meta must be an object; send an object")
        found.meta_open = start + 1
        end = _scan_object(data, start + 1, found, _IN_META, _on_meta)
        found.meta = (start, end)
        return end
    end = skip(data, start)
    if name == b'"name"' or (name == b'"uri"' and found.key is None):
        found.key = (start, end)
    return end


def _on_meta(data: bytes, name: bytes, start: int, found: Envelope) -> int:
    end = skip(data, start)
    found.version = _text(data, start, end, VERSION_KEY)
    return end


def _text(data: bytes, start: int, end: int, what: str) -> str:
    if data[start : start + 1] != b'"':
        raise EnvelopeError(-32600, f"{what} must be a string")
    try:
        return msgspec.json.decode(data[start:end], type=str)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise EnvelopeError(-32700, f"not JSON: {what}: {error}") from None


def skip(data: bytes, at: int) -> int:
    """The offset behind the value at ``at``."""
    scalar = _SCALAR.match(data, at)
    if scalar is not None:
        return scalar.end()
    if data[at : at + 1] not in (b"{", b"["):
        raise _more_or_error(data, at)
    depth = 0
    for token in _NESTED.finditer(data, at):
        first = token.group()[0]
        if first in b"{[":
            depth += 1
        elif first in b"}]":
            depth -= 1
            if depth == 0:
                return token.end()
        elif token.end() - token.start() == 1:  # a string that has begun and not ended
            break
    raise _MoreError


def plain(key: bytes) -> bytes:
    """A key written with escapes, as it would be written without."""
    try:
        return b'"' + msgspec.json.decode(key, type=str).encode() + b'"'
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise EnvelopeError(-32700, f"not JSON: {error}") from None


_COULD_GO_ON: Final = re.compile(
    rb'[ \t\n\r]*(?:"[^"\\]*+(?:\\.[^"\\]*+)*+\\?|'
    + STRING
    + _WS
    + rb":?"
    + _WS
    + rb"|-|t|tr|tru|f|fa|fal|fals|n|nu|nul)?",
    re.DOTALL,
)


def _more_or_error(data: bytes, at: int) -> Exception:
    """Bytes that may still become a member or a delimiter are "more"; all else is not JSON."""
    if _COULD_GO_ON.fullmatch(data, at):
        return _MoreError()
    return EnvelopeError(-32700, f"not JSON: unexpected byte at offset {at}")
