"""What holds for any bytes at all in the Python parser and translator: for the atheris target, and for the test that
replays the kept corpus.

Rule: what is refused is refused by the error that the function promises; two readers of the same bytes agree, and so do
whole and cut input.
"""

# mypy: ignore-errors
from __future__ import annotations

from crossfade.impls.errors import ProtocolViolation
from crossfade.impls.python import (
    canonical,
    codes,
    cursor,
    event_id,
    members,
    progress,
    rounds,
    state_token,
    translate,
)
from crossfade.impls.python.body_watch import BodyWatch
from crossfade.impls.python.envelope import EnvelopeError, parse, scan
from crossfade.impls.python.http_chunks import ResponseChunks
from crossfade.impls.python.http_head import BadHead, RequestHead, ResponseHead
from crossfade.impls.python.sse import EventReader, EventTooLong


def _tried(function, *args, refuses=()):
    try:
        return function(*args)
    except refuses:
        return None


def envelopes(data: bytes) -> None:
    """A message that is parsed is scanned, and nothing but EnvelopeError refuses one."""
    parsed = _tried(parse, data, refuses=EnvelopeError)
    _tried(scan, data, refuses=EnvelopeError)
    if parsed is not None and not members.is_object(data):
        raise AssertionError("parsed, and no object")
    if parsed is not None and len(data) <= 1024 and any(not watched(data, step) for step in (1, 7, len(data))):
        raise AssertionError("parsed, and not passed on")


def watched(data: bytes, step: int) -> bool:
    """Whether a body in pieces may be passed on."""
    watch = BodyWatch()
    try:
        for at in range(0, len(data), step):
            watch.feed(data[at : at + step])
        watch.end()
    except EnvelopeError:
        return False
    return True


def translations(data: bytes) -> None:
    """What a translation makes of an object is one."""
    translated = _tried(translate.result_to_modern, "tools/list", data, refuses=ProtocolViolation)
    if translated is not None and translate.result_to_modern("tools/list", translated) != translated:
        raise AssertionError("twice is not once")
    for read in (rounds.read_round, rounds.read_retry):
        _tried(read, data, refuses=rounds.BadRound)
    rounds.is_input_required(data)
    codes.error_to_modern("resources/read", data)
    progress.asked_for(progress.with_token(data, b"7"))
    progress.restored(data, b"7")
    if members.is_object(data):
        once = canonical.canonical(data)
        if canonical.canonical(once) != once:
            raise AssertionError("canonical twice is not once")
        rounds.next_params(rounds.without_round(data), [("k", b"{}")], b'"s"')
    text = data.decode("latin-1")
    translate.header_text(text)
    event_id.read(text)
    cursor.read(text, b"0123456789", 9)
    if state_token.read(b"k" * 32, text, 0, "", b"") not in ("malformed", "forged"):
        raise AssertionError("a token of nobody's holds")


def wire(data: bytes) -> None:
    """Heads, chunks and events, whole and cut."""
    _tried(RequestHead, data, refuses=BadHead)
    _tried(ResponseHead, data, refuses=BadHead)
    _tried(ResponseChunks().feed, data, refuses=ValueError)
    seen = []
    for step in (1, len(data) or 1):
        reader = EventReader(10_000)
        seen.append([event for at in range(0, len(data), step) for event in reader.feed(data[at : at + step])])
    if seen[0] != seen[1]:
        raise AssertionError("cut events are others")
    _tried(EventReader(8).feed, data, refuses=EventTooLong)


def one_input(data: bytes) -> None:
    """Every law on the same bytes."""
    envelopes(data)
    translations(data)
    wire(data)
