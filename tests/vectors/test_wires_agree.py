"""Both translators on the same made-up names, tokens, cursors, rounds, headers and heads: they say the same.

Rule: as in ``test_translators_agree``; where they once differed, a vector in ``translation.jsonl`` holds the answer.
"""

from __future__ import annotations

import base64
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from tests.vectors.test_translators_agree import METHODS, NUMBERS, Number, agree, documents, spelled, texts, values
from tests.vectors.translation import of_bytes

from crossfade.impls.python import cursor, translate

LETTERS = "ABZaz019-_+/=\u00e9 "


@st.composite
def tampered(draw: Any, text: str) -> str:
    """A token as it is, or with one letter changed, left out or added."""
    at = draw(st.integers(0, max(len(text) - 1, 0)))
    letter = draw(st.sampled_from(LETTERS))
    return str(draw(st.sampled_from([text, text, text[:at] + letter + text[at + 1 :], text[:at] + text[at + 1 :]])))


@given(texts | st.text(st.characters(exclude_categories=["Cs"])), st.text(st.characters(exclude_categories=["Cs"])))
def test_they_expose_the_same_names(server: str, name: str) -> None:
    agree("name.expose", server, name)
    agree("name.expose", server, name * 9)


lists = st.lists(texts, max_size=6)


@given(st.sampled_from(METHODS), lists, st.sampled_from([0, 1, 2, 3, 7, 2**40]), st.data())
def test_they_cut_lists_into_the_same_pages(method: str, names: list[str], size: int, data: st.DataObject) -> None:
    """Also by cursors of another list, of another place, and of nobody."""
    listed = cursor.digest(data.draw(st.just(method) | texts), data.draw(st.just(names) | lists))
    made = cursor.make(data.draw(st.integers(0, 8) | st.just(2**32 - 1)), listed)
    at = data.draw(st.none() | st.just(made) | tampered(made) | texts)
    page = agree("cursor.page", method, names, size, at)
    if page is not None and page["following"] is not None:
        assert agree("cursor.page", method, names, size, page["following"])["start"] == page["end"]


keys = st.binary(min_size=32, max_size=32).map(bytes.hex)
digests = st.binary(min_size=16, max_size=16).map(bytes.hex)
times = st.integers(0, 2**64 - 1) | st.integers(0, 3)


@given(keys, digests, st.integers(0, 2**32 - 1), times, texts, digests, st.data())
def test_they_make_and_read_the_same_tokens(  # noqa: PLR0917  what a token holds
    key: str, call: str, number: int, expiry_ms: int, principal: str, digest: str, data: st.DataObject
) -> None:
    """Also such as are late, somebody else's, of another request, and forged."""
    token = agree("token.make", key, call, number, expiry_ms, principal, digest)
    if expiry_ms:
        assert agree("token.read", key, token, expiry_ms - 1, principal, digest) == {"call": call, "round": number}
    now_ms = data.draw(times | st.just(expiry_ms))
    said = data.draw(st.just(token) | tampered(token) | texts)
    agree("token.read", key, said, now_ms, data.draw(st.just(principal) | texts), data.draw(st.just(digest) | digests))
    agree("token.read", data.draw(keys), said, now_ms, principal, digest)


@given(st.sampled_from(METHODS) | texts, documents)
def test_they_digest_the_same_requests(method: str, params: bytes) -> None:
    agree("token.digest", method, of_bytes(params))


asked = st.tuples(texts, st.sampled_from(METHODS) | texts, st.none() | documents.map(of_bytes)).map(list)


@given(st.lists(asked, max_size=3), texts | st.text(st.characters(exclude_categories=["Cs"])))
def test_they_write_the_same_rounds(requests: list[list[Any]], state: str) -> None:
    agree("round.write", requests, state)


edges = st.integers(-2, 2).flatmap(lambda by: st.sampled_from([by, 2**53 + by, -(2**53) + by, 2**63 + by, 10**17 + by]))
plain = st.none() | st.booleans() | edges | st.sampled_from(NUMBERS).map(Number) | texts
sent_numbers = st.sampled_from(["{}", "{}.0", "{}e0", "{}0e-1", " {}", "{} ", "0{}", "+{}", "{}.5", "{}_"])


@st.composite
def sent(draw: Any, value: Any) -> str:
    """A header for an argument: right, right in other words, or wrong."""
    text = value if isinstance(value, str) else json.dumps(value)
    if not isinstance(value, str) or isinstance(value, Number):
        text = draw(sent_numbers).format(text)
    coded = base64.b64encode(text.encode()).decode()
    right = [translate.header_value(text), text, f"=?base64?{coded}?="]
    wrong = [f"=?base64?{coded[:-1]}?=", f"=?BASE64?{coded}?=", f"=?base64?{coded}"]
    return str(draw(st.sampled_from([*right, *wrong]) | texts))


@given(st.sampled_from(["string", "integer", "boolean"]), plain | values, st.booleans(), st.data())
def test_they_find_the_same_header_that_differs(kind: str, value: Any, deep: bool, data: st.DataObject) -> None:
    schema: dict[str, Any] = {"properties": {"a": {"type": kind, "x-mcp-header": "A-b"}}}
    arguments: Any = {"a": value}
    if deep:
        schema, arguments = {"properties": {"d": schema}}, {"d": arguments}
    params = data.draw(spelled(data.draw(st.sampled_from([{"arguments": arguments}, {"arguments": value}, {}]))))
    name = data.draw(st.sampled_from(["Mcp-Param-A-b", "mcp-param-a-b", "MCP-PARAM-A-B", "Mcp-Param-A"]))
    headers = {name: data.draw(sent(value))} if data.draw(st.integers(0, 4)) else {}
    agree("header.mismatch", json.dumps(schema), params, headers)


HEADERS = {
    "Host": ["a", "localhost:80", "[::1]:80", ""],
    "Origin": ["http://a", "null"],
    "Content-Length": ["0", "5", "05", "+5", "-1", "0x5", "", "5,5", "5 5", "9" * 18, "9" * 19, "9" * 30],
    "Transfer-Encoding": ["chunked", "Chunked", "gzip", "gzip, chunked", "chunked, chunked", "identity", ""],
    "Connection": ["close", "Close", "keep-alive", "keep-alive, close", "x", "close-not", "Upgrade", ""],
    "Upgrade": ["h2c", "websocket"],
    "Expect": ["100-continue", "100-Continue", "x"],
    "Content-Type": [
        *("application/json", "Application/JSON", "application/json; charset=utf-8", "application/json ;x"),
        *("text/event-stream", "TEXT/event-stream;x", "application/json, text/event-stream", "text/plain", ""),
    ],
    "Mcp-Session-Id": ["s", "a b", ""],
    "MCP-Protocol-Version": ["2026-07-28", "2025-11-25"],
    "Mcp-Method": ["tools/call", "x"],
    "Mcp-Name": ["x", "=?base64?w6k=?=", "a\tb", "\u00e9", "\u00ff"],
    "Mcp-Param-A": ["1", "2"],
    "Accept": ["application/json", "*/*"],
    "X-Other": ["", "a\x00b", "a\x01b", "a\x7fb", "\u00e9", '"'],
    "X Bad": ["x"],
    "X(Bad": ["x"],
    "": ["x"],
}


@st.composite
def header(draw: Any, name: str) -> str:
    """One header line, seldom wrong."""
    colons, ends = [": ", ":", ":\t "], ["\r\n"]
    if draw(st.integers(0, 9)) == 0:
        colons = [" : ", "", "::"]
    elif draw(st.integers(0, 9)) == 0:
        ends = ["\n", "\r", "\r\r\n", "\r\n "]
    said = draw(st.sampled_from([name, name, name.lower(), name.upper()]))
    value = draw(st.sampled_from(HEADERS[name])) + draw(st.sampled_from(["", "", " ", "\t"]))
    return f"{said}{draw(st.sampled_from(colons))}{value}{draw(st.sampled_from(ends))}"


ordinary = [name for name in HEADERS if name not in ("X Bad", "X(Bad", "", "X-Other")]
header_lines = st.lists(
    (st.sampled_from(ordinary) | st.sampled_from(ordinary) | st.sampled_from(list(HEADERS))).flatmap(header), max_size=5
).map("".join)
methods = st.sampled_from(["POST", "POST", "GET", "DELETE", "PUT", "OPTIONS", "HEAD", "PATCH", ""])
"""Of words that are no methods one codec says so, and the other one calls them other methods: both are refused."""
targets = st.sampled_from(["/mcp", "/mcp?x=1", "/", "*", "http://a/mcp", "", "/a b"])
versions = st.sampled_from([*["HTTP/1.1"] * 5, "HTTP/1.0", "HTTP/1.2", "HTTP/2.0", "HTTP/0.9", "http/1.1", ""])


@given(methods, targets, versions, st.sampled_from(["Host: a\r\n", "Host: a\r\n", ""]), header_lines)
def test_they_read_the_same_request_heads(method: str, target: str, version: str, host: str, lines: str) -> None:
    head = f"{method} {target} {version}\r\n{host}{lines}\r\n"
    agree("http.request", of_bytes(head.encode("latin-1")))


statuses = st.sampled_from(["200", "200", "202", "204", "304", "400", "404", "500", "20", "2000", "-20", "x"])
reasons = st.sampled_from([" OK", " OK", "", " ", " Not Found", " \u00e9"])


@given(versions, statuses, reasons, header_lines)
def test_they_read_the_same_response_heads(version: str, status: str, reason: str, lines: str) -> None:
    head = f"{version} {status}{reason}\r\n{lines}\r\n"
    agree("http.response", of_bytes(head.encode("latin-1")))
