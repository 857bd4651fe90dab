"""Heads: what two hops could read differently is refused, and what is remembered is bounded."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossfade.impls.python import http_head
from crossfade.impls.python.http_chunks import ResponseChunks
from crossfade.impls.python.http_head import BadHead, RequestHead, RequestHeads, ResponseHead

OK = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    "lines",
    [
        b"Content-Length: 5\r\nContent-Length: 5\r\n",
        b"Content-Length: 5\r\nContent-Length: 6\r\n",
        b"Content-Length: +5\r\n",
        b"Content-Length: 0x5\r\n",
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: gzip, chunked\r\n",
        b"Transfer-Encoding : chunked\r\n",
        b" folded: yes\r\n",
        b"Mcp-Session-Id: a\r\nMcp-Session-Id: b\r\n",
    ],
)
def test_ambiguous_heads_are_refused_on_both_sides(lines: bytes) -> None:
    with pytest.raises(BadHead):
        RequestHead(b"POST /mcp HTTP/1.1\r\nHost: h\r\n" + lines + b"\r\n")
    with pytest.raises(BadHead):
        ResponseHead(OK + lines + b"\r\n")


@pytest.mark.parametrize(
    ("lines", "keeps"),
    [(b"", True), (b"Connection: close\r\n", False), (b"Connection: keep-alive\r\n", True)],
)
def test_the_wish_to_close_is_read_from_a_head_without_body(lines: bytes, keeps: bool) -> None:
    assert RequestHead(b"GET /healthz HTTP/1.1\r\nHost: h\r\n" + lines + b"\r\n").keep_alive is keeps
    assert ResponseHead(OK + b"Content-Length: 0\r\n" + lines + b"\r\n").keep_alive is keeps


def test_an_answer_without_length_ends_with_its_connection() -> None:
    head = ResponseHead(OK + b"Content-Type: application/json\r\n\r\n")
    assert (head.length, head.keep_alive) == (-2, False)
    assert b"connection: close" in head.out


def test_the_upstreams_session_and_hop_headers_stop_here() -> None:
    head = ResponseHead(
        OK + b"Mcp-Session-Id: secret\r\nKeep-Alive: timeout=5\r\nX-Kept: 1\r\nContent-Length: 0\r\n\r\n"
    )
    assert head.session == "secret"
    assert not head.same
    assert b"secret" not in head.out
    assert b"timeout" not in head.out
    assert b"x-kept: 1" in head.out


def test_the_memory_of_heads_is_bounded() -> None:
    heads = RequestHeads()
    for number in range(10_000):
        heads.read(b"POST /mcp HTTP/1.1\r\nHost: h\r\nX: %d\r\n\r\n" % number)
    assert len(heads._known) <= http_head._REMEMBERED
    heads.read(b"POST /mcp HTTP/1.1\r\nHost: h\r\nX: " + b"x" * 4000 + b"\r\n\r\n")
    assert all(len(raw) <= http_head._REMEMBERED_BYTES for raw in heads._known)


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=6), st.data())
def test_chunks_end_where_they_end_however_they_are_cut(parts: list[bytes], data: st.DataObject) -> None:
    wire = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
    chunks, decoded, at = ResponseChunks(), b"", 0
    while at < len(wire):
        assert not chunks.done
        step = data.draw(st.integers(1, 25))
        decoded += chunks.feed(wire[at : at + step])
        at += step
    assert chunks.done
    assert decoded == b"".join(parts)
    with pytest.raises(ValueError, match="behind its end"):
        chunks.feed(b"x")
