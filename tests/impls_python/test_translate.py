"""Between the eras: what a hop adds and strips, and that everything else survives."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossfade.impls.python import translate
from crossfade.impls.python.ask import encode_params
from crossfade.impls.python.envelope import CAPABILITIES_KEY, VERSION_KEY
from crossfade.impls.python.sse import EventReader, EventTooLong, event, priming

VENDOR = {"x-vendor/trace": {"deep": [1, None]}, "progressToken": "p"}
HOP: dict[str, Any] = {
    VERSION_KEY: "2026-07-28",
    translate.INFO_KEY: {"name": "client", "version": "9"},
    CAPABILITIES_KEY: {"sampling": {}},
    translate.LOG_KEY: "debug",
}


def test_a_legacy_server_sees_the_vendors_keys_and_no_hop_key() -> None:
    params = json.loads(encode_params("legacy", {"name": "n", "unknown": 1}, {**VENDOR, **HOP}))
    assert params == {"name": "n", "unknown": 1, "_meta": VENDOR}


def test_a_legacy_server_gets_no_empty_meta() -> None:
    assert json.loads(encode_params("legacy", {"name": "n"}, HOP)) == {"name": "n"}


def test_a_modern_server_sees_the_callers_capabilities_not_ours() -> None:
    meta = json.loads(encode_params("modern", {}, {**VENDOR, **HOP}))["_meta"]
    assert meta == {**VENDOR, **HOP}


def test_a_modern_server_gets_what_it_requires_of_a_caller_that_says_nothing() -> None:
    meta = json.loads(encode_params("modern", {}, None))["_meta"]
    assert meta[VERSION_KEY] == "2026-07-28"
    assert meta[CAPABILITIES_KEY] == {}
    assert meta[translate.INFO_KEY]["name"] == "crossfade"


@pytest.mark.parametrize(
    ("method", "raw", "expected"),
    [
        ("tools/call", b'{"content":[]}', b'{"resultType":"complete","content":[]}'),
        ("tools/call", b"{}", b'{"resultType":"complete"}'),
        ("tools/call", b'{"resultType":"input_required"}', b'{"resultType":"input_required"}'),
        ("tools/list", b'{"tools":[]}', b'{"resultType":"complete","ttlMs":0,"cacheScope":"private","tools":[]}'),
        (
            "tools/list",
            b'{"ttlMs":5,"tools":[]}',
            b'{"resultType":"complete","cacheScope":"private","ttlMs":5,"tools":[]}',
        ),
    ],
)
def test_a_result_gains_only_what_it_lacks(method: str, raw: bytes, expected: bytes) -> None:
    assert translate.result_to_modern(method, raw) == expected


@given(st.text())
def test_any_name_survives_the_header(name: str) -> None:
    try:
        name.encode()
    except UnicodeEncodeError:
        return
    value = translate.header_value(name)
    assert value.isascii()
    assert not {"\r", "\n", "\0"} & set(value)
    assert translate.header_text(value) == name


@pytest.mark.parametrize("value", ["=?base64?###?=", "=?base64?/w==?="])
def test_base64_that_is_none_is_no_name(value: str) -> None:
    assert translate.header_text(value) is None


@pytest.mark.parametrize(
    ("schema", "found"),
    [
        ({"properties": {"r": {"type": "string", "x-mcp-header": "Region"}}}, {"Region": ("r",)}),
        (
            {"properties": {"a": {"properties": {"b": {"type": "integer", "x-mcp-header": "B"}}}}},
            {"B": ("a", "b")},
        ),
        ({"properties": {}}, {}),
        (None, {}),
        ({"properties": {"r": {"type": "number", "x-mcp-header": "R"}}}, None),
        ({"properties": {"r": {"type": "string", "x-mcp-header": ""}}}, None),
        ({"properties": {"r": {"type": "string", "x-mcp-header": "a b"}}}, None),
        ({"properties": {"r": {"type": "string", "x-mcp-header": "R\r\nX"}}}, None),
        ({"properties": {"r": {"items": {"type": "string", "x-mcp-header": "R"}}}}, None),
        ({"anyOf": [{"properties": {"r": {"type": "string", "x-mcp-header": "R"}}}]}, None),
        (
            {"properties": {k: {"type": "string", "x-mcp-header": k} for k in ("x", "X")}},
            None,
        ),
    ],
)
def test_header_annotations_that_break_a_rule_condemn_the_tool(schema: Any, found: Any) -> None:
    assert translate.header_annotations(schema) == found


def test_header_params_leave_out_what_is_not_there() -> None:
    annotations = {"A": ("a",), "B": ("b", "c"), "C": ("c",), "D": ("d",)}
    assert translate.header_params(annotations, {"a": True, "b": {"c": 42}, "c": None}) == [
        ("Mcp-Param-A", "true"),
        ("Mcp-Param-B", "42"),
    ]


@given(
    st.lists(st.binary(min_size=1, max_size=20).map(lambda b: json.dumps(b.hex()).encode()), max_size=5),
    st.sampled_from([b"\n", b"\r\n", b"\r"]),
    st.data(),
)
def test_events_arrive_whole_however_they_are_cut_and_whatever_ends_a_line(
    payloads: list[bytes], ending: bytes, data: Any
) -> None:
    stream = b": comment\n\n" + b"id: 1\ndata:\n\n" + b"".join(event(p) for p in payloads)
    stream = b"\xef\xbb\xbf" + stream.replace(b"\n", ending)
    reader, seen, at = EventReader(1000), [], 0
    while at < len(stream):
        step = data.draw(st.integers(1, 30))
        seen += [e.data for e in reader.feed(stream[at : at + step])]
        at += step
    assert seen == payloads
    assert reader.last_id == b"1"


def test_the_last_id_is_that_of_a_whole_event_and_a_later_event_without_one_leaves_it() -> None:
    reader = EventReader(1000)
    assert [e.data for e in reader.feed(b"id: a\ndata: 1\n\ndata: 2\n\nid: b\ndata: 3\n")] == [b"1", b"2"]
    assert reader.last_id == b"a"
    assert reader.feed(b"\nid: has\0nul\nretry: 20\n\n")[0].data == b"3"
    assert (reader.last_id, reader.retry_ms) == (b"b", 20)
    assert reader.feed(b"retry: soon\nretry: 99999999999\n\n") == []
    assert reader.retry_ms == 60_000


def test_the_priming_event_is_no_message_and_gives_an_id() -> None:
    reader = EventReader(1000)
    assert reader.feed(priming(b"1-0") + event(b"{}", b"1-1")[:-1]) == []
    assert reader.last_id == b"1-0"
    assert [e.data for e in reader.feed(b"\n")] == [b"{}"]
    assert reader.last_id == b"1-1"


def test_an_event_without_end_is_not_collected() -> None:
    reader = EventReader(100)
    with pytest.raises(EventTooLong):
        all(reader.feed(b"data: xxxxxxxx\n") == [] for _ in range(50))
    with pytest.raises(EventTooLong):
        EventReader(100).feed(b"data: " + b"x" * 200)
    with pytest.raises(EventTooLong):
        EventReader(100).feed(b"data:\n" * 200)
