"""Owns the change between a legacy server's requests to its client and the ``input_required`` rounds of 2026-07-28.

Rules: params, results and ``requestState`` pass byte for byte; only where they stand changes. Sources: 2026-07-28
basic/patterns/mrtr, and client/{elicitation,sampling,roots} of both eras.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from crossfade.impls.python.jsonrpc import encode
from crossfade.impls.python.members import NotAnObject, added, is_object, members, value_of, without

CAPABILITIES: Final = {"sampling/createMessage": "sampling", "elicitation/create": "elicitation", "roots/list": "roots"}
"""What a client must have declared to be asked; a server may ask for nothing else."""
ASKING: Final = frozenset({"tools/call", "prompts/get", "resources/read"})
"""The requests that may be answered with ``input_required``."""
_RESPONSES: Final = b'"inputResponses"'
_STATE: Final = b'"requestState"'


class BadRound(ValueError):
    """What should be a round is none; the message says what is wrong with it."""


class Asked(NamedTuple):
    """One request to the client. ``params`` is JSON, None if it has none."""

    key: str
    method: str
    params: bytes | None


class Round(NamedTuple):
    """An ``input_required`` result. ``state`` is the JSON of ``requestState``, quotes and escapes as they were."""

    asked: list[Asked]
    state: bytes | None


class Retry(NamedTuple):
    """What a modern client's retry brings: responses by key, and ``requestState`` as JSON."""

    responses: dict[str, bytes]
    state: bytes | None


def input_key(n: int) -> str:
    """The key of the ``n``-th request of a call, counted from 1."""
    return f"input-{n}"


def input_required(asked: Sequence[Asked], state: str) -> bytes:
    """The result that asks a modern client."""
    entries = (encode(one.key) + b":" + _request(one) for one in asked)
    return b'{"resultType":"input_required","inputRequests":{%b},"requestState":%b}' % (
        b",".join(entries),
        encode(state),
    )


def _request(one: Asked) -> bytes:
    params = b"" if one.params is None else b',"params":' + one.params
    return b'{"method":' + encode(one.method) + params + b"}"


def is_input_required(result: bytes) -> bool:
    """Whether a result asks for input. Cheap for those that do not."""
    if b"input_required" not in result and b"\\u" not in result:
        return False
    try:
        return _text(value_of(result, b'"resultType"')) == "input_required"
    except NotAnObject:
        return False


def read_round(result: bytes) -> Round:
    """What a modern server's ``input_required`` result asks for, in its order. Raises :class:`BadRound`."""
    fields = _object(result, "the result")
    state = fields.get("requestState")
    if state is not None and _text(state) is None:
        raise BadRound("requestState is no string")
    asked = []
    if "inputRequests" in fields:
        for key, raw in _object(fields["inputRequests"], "inputRequests").items():
            one = _object(raw, f"inputRequests[{key!r}]")
            method = _text(one.get("method"))
            if method not in CAPABILITIES:
                raise BadRound(f"inputRequests[{key!r}] has the method {method!r}, which no client answers")
            params = one.get("params")
            if params is not None and not is_object(params):
                raise BadRound(f"inputRequests[{key!r}].params is no object")
            asked.append(Asked(key, method, params))
    if state is None and not asked:
        raise BadRound("there is neither inputRequests nor requestState")
    return Round(asked, state)


def read_retry(params: bytes) -> Retry:
    """What a request brings of an earlier round. Raises :class:`BadRound`."""
    fields = _object(params, "params")
    state = fields.get("requestState")
    if state is not None and _text(state) is None:
        raise BadRound("params.requestState is no string")
    responses = fields.get("inputResponses")
    found = {} if responses is None else _object(responses, "params.inputResponses")
    for key, raw in found.items():
        if not is_object(raw):
            raise BadRound(f"params.inputResponses[{key!r}] is no object")
    return Retry(found, state)


def state_text(state: bytes) -> str:
    """``requestState`` decoded."""
    return _text(state) or ""


def next_params(params: bytes, responses: Iterable[tuple[str, bytes]], state: bytes | None) -> bytes:
    """The params of the next try at a modern server: with this round's input, without that of earlier ones.

    Raises NotAnObject.
    """
    rest = without(params, _RESPONSES, _STATE)
    answers = b",".join(encode(key) + b":" + value for key, value in responses)
    fields = []
    if answers:
        fields.append(_RESPONSES + b":{" + answers + b"}")
    if state is not None:
        fields.append(_STATE + b":" + state)
    return added(rest, fields)


def without_round(params: bytes) -> bytes:
    """Params for a legacy server, which knows of no rounds. Raises NotAnObject."""
    return without(params, _RESPONSES, _STATE)


def refused(method: str) -> bytes | None:
    """The input that stands for a legacy client's error answer; None: the call ends with that error."""
    return b'{"action":"cancel"}' if method == "elicitation/create" else None


def request_to_legacy(method: str, params: bytes | None, unique: str) -> bytes | None:
    """A modern server's request as a legacy client knows it: elicitation by URL has an id there (2025-11-25)."""
    if method != "elicitation/create" or params is None:
        return params
    fields = _object(params, "params")
    if _text(fields.get("mode")) != "url" or "elicitationId" in fields:
        return params
    return added(params, [b'"elicitationId":' + encode(unique)])


def declares(capabilities: bytes, method: str) -> bool:
    """Whether a client with these capabilities (JSON) may be asked ``method``."""
    key = CAPABILITIES.get(method)
    if key is None:
        return False
    try:
        value = value_of(capabilities, b'"' + key.encode() + b'"')
    except NotAnObject:
        return False
    return value is not None and is_object(value)


def missing_capability(method: str) -> bytes:
    """The ``data`` of error -32021 about ``method``."""
    return encode({"requiredCapabilities": {CAPABILITIES[method]: {}}})


def _object(raw: bytes, what: str) -> dict[str, bytes]:
    try:
        found = members(raw)
    except NotAnObject:
        raise BadRound(f"{what} is no object") from None
    fields = {json.loads(raw[member.at : member.behind]): raw[member.start : member.end] for member in found}
    if len(fields) < len(found):
        raise BadRound(f"{what} has a member that stands twice")
    return fields


def _text(raw: bytes | None) -> str | None:
    if raw is None or not raw.startswith(b'"'):
        return None
    return str(json.loads(raw))
