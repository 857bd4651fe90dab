"""Owns the heads of HTTP/1.1 messages: the one seam to the HTTP parser (httptools), and a memory of heads already read.

A client on a keep-alive connection sends the same head again and again, and so does a server; reading one is a pure
function of its bytes. So a head is parsed once and remembered (bounded in number and size), which makes the hot route
one dictionary look-up. A head that differs in anything is a different key; nothing is guessed.

Rule: what RFC 9112 calls ambiguous is refused (length and chunked together, two lengths, obsolete folding: llhttp in
its strict mode), so that a hop before and a hop after cannot read two different messages.
"""

from __future__ import annotations

from typing import Any, Final

import httptools

MAX_HEAD: Final = 16 * 1024
"""Bytes of one head; more is 431 to a client and a protocol violation of a server."""
_DIGITS: Final = 18
"""The longest Content-Length; more could be no number of 64 bits."""
_REMEMBERED: Final = 2048
_REMEMBERED_BYTES: Final = 2048
_HOP_BY_HOP: Final = frozenset(
    {b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"upgrade", b"mcp-session-id"}
)
"""Response headers that end at this hop (RFC 9110 section 7.6.1), and the upstream's session, which is the gateway's.
"""


class BadHead(ValueError):
    """The bytes are not an HTTP/1.1 head that we accept."""


class _Reader:
    """Collects what httptools reports about one head."""

    __slots__ = ("headers", "keep_alive", "parser", "url")

    def __init__(self) -> None:
        self.headers: list[tuple[bytes, bytes]] = []
        self.url = b""
        self.keep_alive = False
        self.parser: Any = None

    def on_headers_complete(self) -> None:
        # Asked for here, because llhttp forgets it with the end of the message.
        self.keep_alive = self.parser.should_keep_alive()

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value.strip(b" \t")))  # llhttp keeps the white space behind a value


def _only(headers: list[tuple[bytes, bytes]], name: bytes) -> str | None:
    found = [value for key, value in headers if key == name]
    if len(found) > 1:
        raise BadHead(f"the header {name.decode()} stands twice; send it once")
    return found[0].decode("latin-1") if found else None


class RequestHead:
    """One request head. ``length`` is the body's, -1 for chunked; ``params`` are the headers ``mcp-param-*``;
    ``verdict``, ``forward*`` and ``principal`` are the gateway's notes.
    """

    __slots__ = (
        "expect",
        "forward",
        "forward_by",
        "forward_for",
        "headers",
        "keep_alive",
        "length",
        "mcp_method",
        "mcp_name",
        "method",
        "params",
        "path",
        "principal",
        "session",
        "verdict",
        "version",
    )

    def __init__(self, raw: bytes) -> None:
        reader = _Reader()
        reader.parser = parser = httptools.HttpRequestParser(reader)
        try:
            parser.feed_data(raw)
        except httptools.HttpParserUpgrade:
            pass  # a wish that a server may leave alone (RFC 9110 section 7.8): some clients offer HTTP/2 so
        except httptools.HttpParserError as error:
            raise BadHead(f"not HTTP/1.1: {error}") from None
        if parser.get_http_version() != "1.1":
            raise BadHead(f"HTTP/{parser.get_http_version()} is not supported; use HTTP/1.1")
        headers = reader.headers
        self.headers = headers
        self.method = parser.get_method().decode("latin-1")
        self.path = reader.url.partition(b"?")[0].decode("latin-1")
        self.keep_alive = reader.keep_alive
        self.length = _body_length(headers)
        self.expect = (_only(headers, b"expect") or "").lower() == "100-continue"
        self.version = _only(headers, b"mcp-protocol-version")
        self.mcp_method = _only(headers, b"mcp-method")
        self.mcp_name = _only(headers, b"mcp-name")
        _only(headers, b"content-type")
        self.session = _only(headers, b"mcp-session-id")
        self.params = {
            key.decode("latin-1"): _only(headers, key) or "" for key, _ in headers if key.startswith(b"mcp-param-")
        }
        self.verdict: Any = None
        self.forward = b""
        self.forward_for: object = None
        self.forward_by: object = None
        self.principal: str | None = None

    def header(self, name: bytes) -> str | None:
        """The value of a header that may stand once; ``name`` in lower case."""
        return _only(self.headers, name)


class ResponseHead:
    """One response head. ``length`` -1 is chunked, -2 "until the connection closes"; ``out`` is what a client gets."""

    __slots__ = ("is_json", "is_sse", "keep_alive", "length", "out", "same", "session", "status")

    def __init__(self, raw: bytes) -> None:
        reader = _Reader()
        reader.parser = parser = httptools.HttpResponseParser(reader)
        try:
            parser.feed_data(raw)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            raise BadHead(f"not HTTP/1.1: {error}") from None
        spoken = parser.get_http_version()
        if spoken not in ("1.1", "1.0"):
            raise BadHead(f"HTTP/{spoken} is not supported; answer in HTTP/1.1")
        headers = reader.headers
        self.status: int = parser.get_status_code()
        chunked = _is_chunked(headers)
        self.length = _body_length(headers, default=-2)
        if self.status in (204, 304) or self.status < 200:
            self.length = 0
        self.keep_alive = reader.keep_alive and spoken == "1.1" and self.length != -2
        self.session = _only(headers, b"mcp-session-id")
        kind = (_only(headers, b"content-type") or "").partition(";")[0].strip().lower()
        self.is_json = kind == "application/json"
        self.is_sse = kind == "text/event-stream"
        self.same = not any(name in _HOP_BY_HOP for name, _ in headers) and self.length != -2
        lines = [raw.partition(b"\r\n")[0]]
        lines += [
            name + b": " + value
            for name, value in headers
            if name not in _HOP_BY_HOP and not (chunked and name == b"content-length")
        ]
        if self.length == -2:
            lines.append(b"connection: close")
        self.out = b"\r\n".join(lines) + b"\r\n\r\n"


def _is_chunked(headers: list[tuple[bytes, bytes]]) -> bool:
    coding = _only(headers, b"transfer-encoding")
    if coding is None:
        return False
    if coding.strip().lower() != "chunked":
        raise BadHead(f"transfer-encoding {coding!r} is not supported; send chunked or a content-length")
    return True


def _body_length(headers: list[tuple[bytes, bytes]], default: int = 0) -> int:
    text = _only(headers, b"content-length")
    if _is_chunked(headers):
        if text is not None:
            raise BadHead("content-length and transfer-encoding together; send one of them")
        return -1
    if text is None:
        return default
    if not (text.isascii() and text.isdigit()) or len(text) > _DIGITS:
        raise BadHead(f"content-length {text!r} is not a number of bytes")
    return int(text)


class RequestHeads:
    """The memory of request heads."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: dict[bytes, RequestHead] = {}

    def read(self, raw: bytes) -> RequestHead:
        """The head that ``raw`` (the blank line included) stands for. Raises :class:`BadHead`."""
        head = self._known.get(raw)
        if head is None:
            head = RequestHead(raw)
            if len(raw) <= _REMEMBERED_BYTES:
                if len(self._known) >= _REMEMBERED:
                    self._known.clear()
                self._known[raw] = head
        return head

    def clear(self) -> None:
        """Forget all: what the gateway noted on them is out of date."""
        self._known.clear()


class ResponseHeads:
    """The memory of response heads."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: dict[bytes, ResponseHead] = {}

    def read(self, raw: bytes) -> ResponseHead:
        """The head that ``raw`` (the blank line included) stands for. Raises :class:`BadHead`."""
        head = self._known.get(raw)
        if head is None:
            head = ResponseHead(raw)
            if len(raw) <= _REMEMBERED_BYTES:
                if len(self._known) >= _REMEMBERED:
                    self._known.clear()
                self._known[raw] = head
        return head
