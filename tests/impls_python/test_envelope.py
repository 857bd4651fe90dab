"""The two readers of envelopes: the same answer whole, byte by byte, and against the standard library."""

from __future__ import annotations

import base64
import contextlib
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossfade.impls.python import envelope
from crossfade.impls.python.envelope import VERSION_KEY, Envelope, EnvelopeError, find_once, parse, scan

VECTORS = Path(__file__).parents[2] / "impls" / "vectors" / "envelope.jsonl"
CASES = [json.loads(line) for line in VECTORS.read_text().splitlines()]
FIELDS = ("method", "id", "params", "key", "meta", "version", "end")


def body_of(case: dict[str, Any]) -> bytes:
    return base64.b64decode(case["body_b64"]) if "body_b64" in case else str(case["body"]).encode()


def seen(found: Envelope) -> dict[str, Any]:
    values = {name: getattr(found, name) for name in FIELDS}
    return {name: list(v) if isinstance(v, tuple) else v for name, v in values.items() if v is not None}


@pytest.mark.parametrize("case", CASES, ids=[c["id"] for c in CASES])
def test_vectors(case: dict[str, Any]) -> None:
    try:
        found: dict[str, Any] = seen(scan(body_of(case), complete=case["complete"]))
    except EnvelopeError as error:
        found = {"error": error.code}
    assert found == case["expect"]


@pytest.mark.parametrize("case", [c for c in CASES if "error" not in c["expect"]], ids=lambda c: str(c["id"]))
def test_byte_by_byte_a_scan_only_ever_learns(case: dict[str, Any]) -> None:
    """No prefix of a good body is an error, and what was seen once stays true."""
    body = body_of(case)
    final = seen(scan(body))
    known: dict[str, Any] = {}
    for end in range(len(body) + 1):
        now = seen(scan(body[:end]))
        for name, value in known.items():
            if name != "key":  # `name` outranks a `uri` that came first
                assert now[name] == value
        known = now
    assert known == final


@pytest.mark.parametrize("case", [c for c in CASES if c["complete"]], ids=lambda c: str(c["id"]))
def test_both_readers_agree(case: dict[str, Any]) -> None:
    """``parse`` looks into values that ``scan`` skips, and wants a message of JSON-RPC 2.0; in all else they agree."""
    body, expect = body_of(case), case["expect"]
    spoken = body if b'"jsonrpc"' in body else body.replace(b"{", b'{"jsonrpc":"2.0",', 1)
    if case["id"] in ("not-utf8-in-arguments", "empty-object"):
        return
    if "error" in expect:
        with pytest.raises(EnvelopeError):
            parse(spoken)
        return
    message = parse(spoken)
    assert (None if message.method is msgspec.UNSET else message.method) == expect.get("method")
    if "id" in expect:
        assert isinstance(message.id, msgspec.Raw)
        assert bytes(message.id) == body[slice(*expect["id"])]
    if "version" in expect:
        assert isinstance(message.params, msgspec.Struct)
        assert message.params.meta.version == expect["version"]  # type: ignore[union-attr]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
messages = st.builds(
    lambda rest, params, meta, fixed: {**rest, **fixed, "params": {**params, "name": "up__echo", "_meta": meta}},
    st.dictionaries(st.text(max_size=6).filter(lambda k: k not in ("method", "id", "params")), json_values, max_size=3),
    st.dictionaries(st.text(max_size=6).filter(lambda k: k not in ("name", "uri", "_meta")), json_values, max_size=4),
    st.dictionaries(st.just(VERSION_KEY), st.text(), max_size=1),
    st.fixed_dictionaries({"id": st.integers() | st.text(), "method": st.text()}),
)


@given(messages, st.sampled_from([None, 1, "\t"]), st.booleans(), st.randoms())
def test_any_message_reads_as_json_reads_it(message: Any, indent: Any, ascii_only: bool, random: Any) -> None:
    items = list(message.items())
    random.shuffle(items)
    inner = list(message["params"].items())
    random.shuffle(inner)
    message = {**dict(items), "params": dict(inner)}
    try:
        body = json.dumps(message, indent=indent, ensure_ascii=ascii_only).encode()
    except UnicodeEncodeError:  # a lone surrogate has no UTF-8
        return
    found = scan(body, complete=True)
    assert found.method == message["method"]
    assert found.id is not None
    assert json.loads(body[slice(*found.id)]) == message["id"]
    assert found.key is not None
    assert json.loads(body[slice(*found.key)]) == "up__echo"
    assert found.params is not None
    assert json.loads(body[slice(*found.params)]) == message["params"]
    assert found.meta is not None
    assert json.loads(body[slice(*found.meta)]) == message["params"]["_meta"]
    assert found.version == message["params"]["_meta"].get(VERSION_KEY)
    assert found.end == len(body)


@given(st.binary(max_size=60))
def test_no_bytes_at_all_make_a_reader_fail_in_any_other_way(body: bytes) -> None:
    for read in (parse, scan, lambda data: scan(data, complete=True)):
        with contextlib.suppress(EnvelopeError):
            read(body)


def test_nesting_without_end_is_an_error_and_not_a_crash() -> None:
    body = b'{"jsonrpc":"2.0","id":1,"method":"m","params":{"arguments":' + b"[" * 200_000 + b"]" * 200_000 + b"}}"
    with pytest.raises(EnvelopeError, match="nested too deeply"):
        parse(body)
    assert scan(body, complete=True).method == "m"


def test_a_token_that_stands_twice_is_not_guessed() -> None:
    assert find_once(b'{"name":"a__b"}', b'"a__b"') == 8
    assert find_once(b'{"x":"a__b","name":"a__b"}', b'"a__b"') == -1


ORDINARY = {
    "a client that names itself": b'{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"_meta":{'
    b'"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"c",'
    b'"version":"1"},"io.modelcontextprotocol/clientCapabilities":{}},"name":"up__echo","arguments":{"text":"t"}}}',
    "arguments that are called as the envelope's keys": b'{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{'
    b'"name":"t","arguments":{"id":1,"name":"x","uri":"u","method":"m","params":{"_meta":{}}}}}',
}


@pytest.mark.parametrize("body", ORDINARY.values(), ids=ORDINARY.keys())
def test_an_ordinary_request_is_not_read_twice(body: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second reading costs more than all the rest of a relayed call."""

    def scanned(*_: object, **__: object) -> None:
        raise AssertionError("scanned")

    monkeypatch.setattr(envelope, "scan", scanned)
    assert envelope.parse(body).method == "tools/call"


@pytest.mark.parametrize(
    "body",
    [
        b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","arguments":{"name":"x"},"name":"b"}}',
        b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","arguments":{"name":"x"},"arguments":{},'
        b'"name":"b"}}',
        b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","_meta":{'
        b'"io.modelcontextprotocol/clientInfo":{"name":"x"},'
        b'"io.modelcontextprotocol/clientInfo":{}},"name":"b"}}',
        b'{"jsonrpc":"2.0","id":1,"method":"tools/call","id":2,"params":{"name":"a","arguments":{"id":3}}}',
        b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a"},"jsonrpc":"2.0"}',
    ],
)
def test_what_may_hold_any_key_hides_no_second_one(body: bytes) -> None:
    with pytest.raises(envelope.EnvelopeError, match="twice"):
        envelope.parse(body)


@pytest.mark.parametrize(
    ("body", "raw_id"),
    [
        (b'{"jsonrpc":"1.0","id":"a","method":"ping"}', b'"a"'),
        (b'{"id":7,"method":"ping"}', b"7"),
        (b'{"jsonrpc":"2.0","id":7}', b"7"),
        (b'{"jsonrpc":"2.0","id":7,"method":7}', b"7"),
        (b'{"jsonrpc":"2.0","id":null,"method":"ping"}', None),
        (b'{"jsonrpc":"1.0","id":[7],"method":"ping"}', None),
        (b'{"jsonrpc":"1.0","method":"ping"}', None),
        (b"[]", None),
    ],
)
def test_what_is_no_message_is_refused_under_the_id_that_it_has(body: bytes, raw_id: bytes | None) -> None:
    with pytest.raises(EnvelopeError) as refused:
        parse(body)
    assert (refused.value.code, refused.value.raw_id) == (-32600, raw_id)
