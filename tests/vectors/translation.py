"""The operations of ``impls/vectors/TRANSLATION.md`` on the Python side: the mirror of ``replay`` in the Rust runtime.

Rule: an operation only carries values to the function it is named after and back. Bytes are a JSON string of their
UTF-8, or ``{"b64": "..."}`` where they have none.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any, Final

from tests.vectors import translation_session as session
from tests.vectors import translation_wire as wire

from crossfade.impls.python import codes, cursor, event_id, progress, rounds, state_token
from crossfade.impls.python.canonical import canonical
from crossfade.impls.python.gateway.replay import Replay
from crossfade.impls.python.gateway.streams import Stream
from crossfade.impls.python.members import NotAnObject
from crossfade.impls.python.rounds import Asked, BadRound
from crossfade.impls.python.state_token import State
from crossfade.impls.python.translate import header_value

BAD: Final = {"bad": True}


def to_bytes(value: Any) -> bytes:
    """The bytes that a value stands for."""
    return value.encode() if isinstance(value, str) else base64.b64decode(value["b64"])


def of_bytes(raw: bytes | None) -> Any:
    """The value that stands for bytes, or None."""
    if raw is None:
        return None
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return {"b64": base64.b64encode(raw).decode()}


def some_bytes(value: Any) -> bytes | None:
    """Bytes, or None."""
    return None if value is None else to_bytes(value)


def _token_read(key: str, token: str, now_ms: int, principal: str, digest: str) -> Any:
    found = state_token.read(bytes.fromhex(key), token, now_ms, principal, bytes.fromhex(digest))
    return {"call": found.call.hex(), "round": found.round} if isinstance(found, State) else {"refused": found}


def _token_make(key: str, call: str, number: int, expiry_ms: int, principal: str, digest: str) -> str:  # noqa: PLR0917  the operation's arguments
    state = State(bytes.fromhex(call), number)
    return state_token.make(bytes.fromhex(key), state, expiry_ms, principal, bytes.fromhex(digest))


def _page(method: str, names: list[str], size: int, at: str | None) -> Any:
    found = cursor.page(method, names, size, at)
    return None if found is None else found._asdict()


def _event_id(text: Any) -> Any:
    raw = to_bytes(text)
    found = event_id.read(raw.decode("latin-1"))
    return None if found is None else list(found)


def _replay_after(limit: int, said: list[Any], over: list[int], last: str) -> Any:
    replay = Replay(limit)
    streams = [Stream(replay, None) for _ in range(max((number for number, _ in said), default=0))]
    for number, message in said:
        streams[number - 1].send(to_bytes(message))
    for number in over:
        streams[number - 1].end()
    rest = replay.after(last)
    if rest is None:
        return None
    events = [[tag.decode(), of_bytes(message)] for tag, message in rest.events]
    return {"lost": rest.lost, "events": events, "over": rest.stream.over}


def _round_read(result: Any) -> Any:
    found = rounds.read_round(to_bytes(result))
    return {
        "asked": [[one.key, one.method, of_bytes(one.params)] for one in found.asked],
        "state": of_bytes(found.state),
        "text": None if found.state is None else rounds.state_text(found.state),
    }


def _round_retry(params: Any) -> Any:
    found = rounds.read_retry(to_bytes(params))
    return {"responses": [[k, of_bytes(v)] for k, v in found.responses.items()], "state": of_bytes(found.state)}


def _round_write(asked: list[Any], state: str) -> Any:
    return of_bytes(rounds.input_required([Asked(k, m, some_bytes(p)) for k, m, p in asked], state))


def _or_bad(raw: bytes | None) -> Any:
    return BAD if raw is None else of_bytes(raw)


def _events(stream: Any, step: int, limit: int) -> Any:
    found = wire.events(to_bytes(stream), step, limit)
    return BAD if found is None else [of_bytes(data) for data in found]


def _modern(headers: Any, body: Any) -> Any:
    sent = None if headers is None else {name: some_bytes(value) for name, value in headers.items()}
    return session.modern(sent, to_bytes(body))


def _chunks(raw: Any, step: int) -> Any:
    found = wire.http_chunks(to_bytes(raw), step)
    return BAD if found is None else {"payload": of_bytes(found[0]), "done": found[1]}


OPERATIONS: Final[dict[str, Callable[..., Any]]] = {
    "token.digest": lambda method, params: state_token.request_digest(method, to_bytes(params)).hex(),
    "token.make": _token_make,
    "token.read": _token_read,
    "cursor.page": _page,
    "event_id.write": event_id.write,
    "event_id.read": _event_id,
    "replay.after": _replay_after,
    "code.status": codes.http_status,
    "code.to_modern": codes.code_to_modern,
    "code.error_to_modern": lambda method, raw: of_bytes(codes.error_to_modern(method, to_bytes(raw))),
    "progress.token": lambda params: of_bytes(progress.token_of(to_bytes(params))),
    "progress.asked": lambda params: of_bytes(progress.asked_for(to_bytes(params))),
    "progress.with": lambda params, token: of_bytes(progress.with_token(to_bytes(params), to_bytes(token))),
    "progress.restored": lambda params, token: of_bytes(progress.restored(to_bytes(params), to_bytes(token))),
    "json.canonical": lambda raw: of_bytes(canonical(to_bytes(raw))),
    "round.key": rounds.input_key,
    "round.write": _round_write,
    "round.is": lambda result: rounds.is_input_required(to_bytes(result)),
    "round.read": _round_read,
    "round.retry": _round_retry,
    "round.next": lambda params, responses, state: of_bytes(
        rounds.next_params(to_bytes(params), [(k, to_bytes(v)) for k, v in responses], some_bytes(state))
    ),
    "round.without": lambda params: of_bytes(rounds.without_round(to_bytes(params))),
    "round.to_legacy": lambda method, params, unique: of_bytes(
        rounds.request_to_legacy(method, to_bytes(params), unique)
    ),
    "round.refused": lambda method: of_bytes(rounds.refused(method)),
    "round.may_ask": lambda method: method in rounds.ASKING,
    "round.declares": lambda capabilities, method: rounds.declares(to_bytes(capabilities), method),
    "round.missing": lambda method: of_bytes(rounds.missing_capability(method)),
    "name.expose": wire.expose,
    "envelope.read": lambda body: wire.envelope(to_bytes(body)),
    "envelope.watch": lambda body, step: wire.watch(to_bytes(body), step),
    "session.era": lambda version, body: session.era(some_bytes(version), to_bytes(body)),
    "session.verdict": lambda version, found: session.verdict(some_bytes(version), found),
    "session.agree": lambda params: session.agree(some_bytes(params)),
    "session.id": lambda value: session.session_id(some_bytes(value)),
    "modern.verdict": _modern,
    "meta.to_modern": lambda params, caps: _or_bad(wire.meta("modern", to_bytes(params), to_bytes(caps))),
    "meta.to_legacy": lambda params, caps: _or_bad(wire.meta("legacy", to_bytes(params), to_bytes(caps))),
    "result.to_modern": lambda method, raw: _or_bad(wire.result(method, to_bytes(raw))),
    "header.write": header_value,
    "header.read": lambda value: wire.header_read(to_bytes(value)),
    "header.annotations": lambda schema: wire.header_annotations(to_bytes(schema)),
    "header.params": lambda schema, params: wire.header_params(to_bytes(schema), to_bytes(params)),
    "header.mismatch": lambda schema, params, headers: wire.header_mismatch(
        to_bytes(schema), to_bytes(params), headers
    ),
    "events.read": _events,
    "http.request": lambda raw: wire.http_request(to_bytes(raw)),
    "http.response": lambda raw: wire.http_response(to_bytes(raw)),
    "http.chunks": _chunks,
}


def step(op: str, args: list[Any]) -> Any:
    """Perform one operation."""
    try:
        return OPERATIONS[op](*args)
    except (BadRound, NotAnObject):
        return BAD
