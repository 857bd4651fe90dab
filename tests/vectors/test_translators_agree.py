"""Both translators on the same made-up input: whatever it is, they say the same.

Rule: where they once differed, the specification decided, and a vector in ``translation.jsonl`` holds the answer.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.vectors.test_translation import CASES
from tests.vectors.translation import of_bytes, step

native = pytest.importorskip("crossfade_native", reason="the Rust translator is not built; run make native")


def agree(op: str, *args: Any, as_read: Callable[[Any], Any] = lambda answer: answer) -> Any:
    """The answer of both, compared ``as_read``."""
    ours = step(op, list(args))
    theirs = json.loads(native.translation_step(op, json.dumps(list(args))))
    assert as_read(ours) == as_read(theirs), f"{op} {args!r}: Python {ours!r}, Rust {theirs!r}"
    return ours


KEYS = [
    *("jsonrpc", "id", "method", "params", "_meta", "name", "uri", "ref", "arguments", "progressToken", "requestState"),
    *("inputResponses", "inputRequests", "resultType", "ttlMs", "cacheScope", "code", "message", "mode", "sampling"),
    *("io.modelcontextprotocol/protocolVersion", "io.modelcontextprotocol/clientCapabilities", "a", "\u00e9", 'q"'),
    *("io.modelcontextprotocol/clientInfo", "io.modelcontextprotocol/logLevel", "requestId", "roots", "elicitation"),
]
METHODS = ["tools/call", "tools/list", "resources/read", "elicitation/create", "sampling/createMessage", "roots/list"]
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.sampled_from(
    [*METHODS, "input_required", "complete", "url", "2026-07-28", "=?base64?", "?="]
)
NUMBERS = ["0", "-0", "1.50", "1e400", "-1E-7", "123456789012345678901234567890", "-32002", "9007199254740993", "42.0"]


class Number(str):
    """A number as it is written."""


class Members(list[tuple[str, Any]]):
    """The members of an object, of which some may stand twice."""


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from(NUMBERS).map(Number) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS) | texts, inner, max_size=5),
    max_leaves=12,
)
objects = st.dictionaries(st.sampled_from(KEYS), values, max_size=6)


@st.composite
def spelled(draw: Any, value: Any) -> str:
    """JSON for a value, with white space and escapes where they may be."""
    space = draw(st.sampled_from(["", "", " ", "\n\t", "\r "]))
    if isinstance(value, Number):
        return str(value)
    if isinstance(value, str):
        text = json.dumps(value, ensure_ascii=draw(st.booleans()))
        if draw(st.integers(0, 5)) == 0 and value and value[0] in "abcdefgimnoprstuv_":
            text = f'"\\u{ord(value[0]):04x}{text[2:]}'
        return text
    if isinstance(value, dict):
        value = Members(value.items())
    if isinstance(value, Members):
        members = [f"{draw(spelled(key))}{space}:{draw(spelled(item))}{space}" for key, item in value]
        return f"{space}{{{space}" + f",{space}".join(members) + "}"
    if isinstance(value, list):
        return f"[{space}" + f",{space}".join([draw(spelled(item)) for item in value]) + "]"
    return json.dumps(value)


documents = objects.flatmap(spelled).map(str.encode)
requests = st.builds(
    lambda params, meta, rest: {**rest, "params": {**params, "_meta": meta}}, objects, objects, objects
).flatmap(spelled)


@st.composite
def damaged(draw: Any) -> bytes:
    """A document with a byte changed, left out or put in, cut off, or not there at all."""
    raw = draw(documents | requests.map(str.encode))
    at = draw(st.integers(0, len(raw)))
    how = draw(st.integers(0, 4))
    if how == 0:
        return bytes(raw[:at])
    if how == 1:
        return bytes(raw[:at] + draw(st.binary(max_size=2)) + raw[at + 1 :])
    if how == 2:
        return bytes(raw[:at] + draw(st.sampled_from([b'"', b"\\", b"\\ud800", b"{", b"]", b",", b"\xff"])) + raw[at:])
    return bytes(draw(st.binary(max_size=30))) if how == 3 else bytes(raw)


anything = documents | damaged()

VERSION, CAPABILITIES = "io.modelcontextprotocol/protocolVersion", "io.modelcontextprotocol/clientCapabilities"
versions = st.sampled_from(["2026-07-28"] * 4 + ["2025-11-25", "2024-11-05", "2031-01-01", "1999-01-01", "\u00e9"])
names = st.sampled_from(["t", "\u00e9", "=?base64?dA==?=", "file:///a"])
methods = st.sampled_from([*METHODS, "prompts/get", "initialize", "ping", "notifications/x", "\u00e9"])
metas = st.builds(
    lambda meta, hop: {**meta, **hop},
    objects,
    st.fixed_dictionaries({}, optional={VERSION: versions, CAPABILITIES: st.just({}) | values}),
)
heads = st.fixed_dictionaries(
    {"jsonrpc": st.sampled_from(["2.0"] * 7 + ["1.0", 2.0, None])},
    optional={"id": st.integers() | texts, "method": methods, "result": values, "error": values},
)
"""What a message says of itself; most of them are messages."""
messages = st.builds(
    lambda rest, head, params, meta: {**rest, **head, **({} if params is None else {"params": {**params, **meta}})},
    objects.map(lambda rest: {key: value for key, value in rest.items() if key not in ("id", "method", "params")}),
    heads,
    st.none() | st.fixed_dictionaries({}, optional={"name": names | values, "uri": names}),
    st.fixed_dictionaries({}, optional={"_meta": metas}),
).flatmap(spelled)


@pytest.mark.parametrize("case", CASES, ids=[case["id"] for case in CASES])
def test_the_native_translator_is_as_the_vectors_say(case: dict[str, Any]) -> None:
    assert json.loads(native.translation_step(case["op"], json.dumps(case["args"]))) == case["expect"]


@st.composite
def doubled(draw: Any, sound: dict[str, Any]) -> Members:
    """Some of the members of a sound object, up to two of them with a second one of the same name."""
    found = Members((key, value) for key, value in sound.items() if draw(st.booleans()))
    for _ in range(draw(st.integers(0, 2)) if found else 0):
        key, value = draw(st.sampled_from(found))
        found.insert(draw(st.integers(0, len(found))), (key, draw(st.just(value) | values)))
    return found


@st.composite
def doubled_params(draw: Any) -> Members:
    hop = {"protocolVersion": "2026-07-28", "clientCapabilities": {}, "clientInfo": {"name": "c"}, "logLevel": "debug"}
    own = {f"io.modelcontextprotocol/{key}": value for key, value in hop.items()}
    meta = draw(doubled({**own, "progressToken": 1, "a": [1]}))
    sound = {"name": "n", "uri": "u", "ref": {"name": "n"}, "requestId": 7, "arguments": {"name": "x"}, "a": 1}
    found: Members = draw(doubled({**sound, "_meta": meta}))
    return found


@st.composite
def doubled_messages(draw: Any) -> Members:
    sound = {"jsonrpc": "2.0", "id": 1, "method": "m", "result": {}, "error": {"code": 1}, "a": 1}
    found: Members = draw(doubled({**sound, "params": draw(doubled_params())}))
    return found


@given(requests.map(str.encode) | anything | doubled_messages().flatmap(spelled).map(str.encode))
def test_they_read_the_same_envelope(body: bytes) -> None:
    agree("envelope.read", of_bytes(body))


# A header's value: what the body may say, and what it may not.
sent = st.none() | versions | methods | names | st.binary(max_size=4).map(of_bytes)


@given(
    messages | doubled_messages().flatmap(spelled),
    st.none() | st.fixed_dictionaries({"version": versions | sent, "method": methods | sent, "name": names | sent}),
)
def test_they_serve_the_same_messages(body: str, headers: Any) -> None:
    """As the same era, and refused with the same status and code."""
    agree("session.era", None if headers is None else headers["version"], body)
    agree("modern.verdict", headers, body)


@given(sent, st.sampled_from(["none", "unknown", "known"]), st.binary(max_size=6))
def test_they_know_the_same_sessions(version: Any, found: str, given_: bytes) -> None:
    agree("session.verdict", version, found)
    agree("session.id", version)
    agree("session.id", of_bytes(given_))


hellos = st.builds(
    lambda rest, asked: {**rest, **asked},
    objects,
    st.fixed_dictionaries({}, optional={"protocolVersion": versions | values}),
).flatmap(spelled)


@given(hellos)
def test_they_agree_on_the_same_revision(params: str) -> None:
    agree("session.agree", params)


@given(st.lists(requests | documents.map(bytes.decode), min_size=1, max_size=3), st.sampled_from([1, 2, 5, 64, 5000]))
def test_they_watch_the_same_body(parts: list[str], step: int) -> None:
    """Objects run together into one have keys that stand twice."""
    members = [part.strip()[1:-1].strip() for part in parts]
    joined = "{" + ",".join(part for part in members if part) + "}"
    agree("envelope.watch", joined, step)
    agree("envelope.watch", f'{{"id":1,"params":{joined},"method":"x"}}', step)


@given(anything, st.sampled_from(METHODS))
def test_they_make_the_same_of_results_and_errors(raw: bytes, method: str) -> None:
    agree("result.to_modern", method, of_bytes(raw))
    agree("code.error_to_modern", method, of_bytes(raw))


def meaning(answer: Any) -> Any:
    """An answer as every reader takes it: of members that stand twice the last one. Python sends no other any more."""
    return json.loads(answer, parse_int=str, parse_float=str) if isinstance(answer, str) else answer


@given(requests | anything.map(of_bytes) | doubled_params().flatmap(spelled), documents)
def test_they_send_the_same_meta(params: Any, capabilities: bytes) -> None:
    agree("meta.to_modern", params, of_bytes(capabilities), as_read=meaning)
    agree("meta.to_legacy", params, "{}", as_read=meaning)


@given(requests | anything.map(of_bytes), st.sampled_from(['"t"', "7"]))
def test_they_put_the_same_progress_token_in_and_back(params: Any, token: str) -> None:
    agree("progress.asked", params)
    agree("progress.token", params)
    agree("progress.restored", agree("progress.with", params, token), token)


@given(anything, st.sampled_from(METHODS))
def test_they_read_the_same_rounds(raw: bytes, method: str) -> None:
    body = of_bytes(raw)
    for op in ("round.is", "round.read", "round.retry", "round.without"):
        agree(op, body)
    agree("round.declares", body, method)
    agree("round.to_legacy", method, body, "unique")
    agree("round.next", body, [["k", "{}"], ['"\u2028', '{"a": 1}']], '"s"')


@given(documents)
def test_they_know_a_request_again(params: bytes) -> None:
    agree("json.canonical", of_bytes(params))
    agree("token.digest", "tools/call", of_bytes(params))


@given(texts | st.text(st.characters(exclude_categories=["Cs"])), st.binary(max_size=40))
def test_they_write_and_read_the_same_headers(text: str, raw: bytes) -> None:
    assert agree("header.read", agree("header.write", text)) == text
    agree("header.read", of_bytes(b"=?base64?" + raw + b"?="))
    agree("event_id.read", of_bytes(raw))


schemas = st.recursive(
    st.fixed_dictionaries(
        {"type": st.sampled_from(["string", "integer", "boolean", "number", "object", 1])},
        optional={"x-mcp-header": st.sampled_from(["A", "a", "B", "C d", "", "\u00e9", 7]), "enum": st.just([{}])},
    ),
    lambda inner: st.dictionaries(
        st.sampled_from(["properties", "items", "anyOf", "default", "$defs"]),
        st.dictionaries(st.sampled_from("abn"), inner, max_size=3) | st.lists(inner, max_size=2) | inner,
        max_size=2,
    ),
)
arguments = st.recursive(values, lambda inner: st.dictionaries(st.sampled_from("abn"), inner, max_size=3), max_leaves=6)


@given(schemas, arguments.flatmap(spelled))
@example({"properties": {"a": {"type": "integer", "x-mcp-header": "A"}}}, '{"a": 4.2e1}')
def test_they_send_the_same_param_headers(schema: Any, given_: str) -> None:
    text = json.dumps(schema)
    agree("header.annotations", text)
    agree("header.params", text, '{"arguments":' + given_ + "}")


lines = st.sampled_from(
    ["data: x", "data:", "data", "data:  y", "dat: a", ": c", "event: e", "id: 1", "retry: 5", "", "", "\ufeffdata: b"]
)
ends = st.sampled_from(["\n", "\r", "\r\n"])


@given(st.lists(st.tuples(lines, ends).map("".join), max_size=12).map("".join), st.integers(1, 9))
def test_they_cut_streams_into_the_same_events(stream: str, size: int) -> None:
    assert agree("events.read", stream, size, 1000) == agree("events.read", stream, 1000, 1000)


chunks = st.builds(
    lambda sized, last: "".join(sized) + last,
    st.lists(st.sampled_from(["1\r\nx\r\n", "2;a=b\r\nxy\r\n", "A\r\n0123456789\r\n"]), max_size=3),
    st.sampled_from(["0\r\n\r\n", "0\r\nT: v\r\n\r\n"]),
)


@given(chunks, st.integers(2, 40), st.sampled_from(["", "", "\r", "\n", "g"]), st.integers(1, 9))
def test_they_end_chunked_bodies_at_the_same_byte(raw: str, back: int, added: str, size: int) -> None:
    """Empty lines behind a body are not compared: one codec takes them for the beginning of the next message."""
    at = max(len(raw) - back, 0)
    agree("http.chunks", raw[:at] + added + raw[at:], size)
