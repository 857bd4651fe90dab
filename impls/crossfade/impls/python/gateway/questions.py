"""Owns what is asked of one legacy client and not answered yet: by the id that we gave, and whose answer it will be.

Rules: an id is this client's alone, so that an answer can reach nobody else's server; every question ends once, by an
answer, by its time or because nobody wants the answer any more; a client has a bounded number open.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import msgspec

from crossfade.impls.python import jsonrpc
from crossfade.impls.python.jsonrpc import NotJsonRpc, decode_answer
from crossfade.impls.python.progress import asked_for, restored, token_of, with_token
from crossfade.impls.python.rounds import CAPABILITIES, declares
from crossfade.impls.python.voice import CANCELLED, PROGRESS

if TYPE_CHECKING:
    from crossfade.impls.python.gateway.speech import Speaker

MOST: Final = 256
_tokens = itertools.count(1)

Ended = Callable[[bytes | None, bytes | None], None]
"""Called once with the JSON of ``result`` or of ``error``."""


class Question:
    """One open question. ``tell`` takes the client's progress notifications; ``silent`` says that no answer came."""

    __slots__ = ("ended", "id", "raw_token", "silent", "speaker", "tell", "timer", "token")

    def __init__(self, number: int, speaker: Speaker, ended: Ended, tell: Callable[[bytes], None] | None) -> None:
        self.id = b'"crossfade-%d"' % number
        self.speaker = speaker
        self.ended = ended
        self.tell = tell
        self.token = b""
        self.raw_token = b""
        self.silent = False
        self.timer: asyncio.TimerHandle | None = None


class Questions:
    """Those to one client, which has declared ``capabilities`` (JSON)."""

    __slots__ = ("_numbers", "_open", "_timeout_s", "capabilities")

    def __init__(self, capabilities: bytes, timeout_ms: int) -> None:
        self.capabilities = capabilities
        self._timeout_s = timeout_ms / 1000
        self._numbers = itertools.count(1)
        self._open: dict[bytes, Question] = {}

    def may_ask(self, method: str) -> bool:
        """Whether the client said that it answers such a request; unknown ones are its own to refuse."""
        return len(self._open) < MOST and (method not in CAPABILITIES or declares(self.capabilities, method))

    def ask(
        self,
        speaker: Speaker,
        method: str,
        params: bytes | None,
        ended: Ended,
        tell: Callable[[bytes], None] | None = None,
    ) -> Question:
        """Send the client a request on ``speaker``."""
        question = Question(next(self._numbers), speaker, ended, tell)
        if params is not None and (raw := asked_for(params)) is not None:
            question.raw_token, question.token = raw, b"%d" % next(_tokens)
            params = with_token(params, question.token)
        self._open[question.id] = question
        loop = asyncio.get_running_loop()
        question.timer = loop.call_later(self._timeout_s, self._late, question)
        more = b"" if params is None else b',"params":' + params
        head = b'{"jsonrpc":"2.0","id":%b,"method":%b' % (question.id, jsonrpc.encode(method))
        speaker.say(head + more + b"}", needed=True)
        return question

    def close(self, question: Question, reason: bytes | None = None) -> None:
        """Nobody wants the answer any more; the client is told if there is a ``reason`` (JSON)."""
        if self._drop(question) and reason is not None:
            params = b'{"requestId":%b,"reason":%b}' % (question.id, reason)
            question.speaker.say(jsonrpc.notification(CANCELLED, params), needed=True)

    def end(self) -> None:
        """The client is gone."""
        for question in list(self._open.values()):
            self._drop(question)
            question.silent = True
            question.ended(None, _failure("the client is gone; ask another one"))

    # -- what the client says

    def answered(self, body: bytes) -> None:
        """A response of the client's; one that answers nothing is nobody's."""
        try:
            answer = decode_answer(body)
        except NotJsonRpc:
            return
        question = None if answer.id is msgspec.UNSET else self._open.get(bytes(answer.id))
        if question is None or not self._drop(question):
            return
        if answer.error is not msgspec.UNSET:
            question.ended(None, bytes(answer.error))
        elif answer.result is not msgspec.UNSET:
            question.ended(bytes(answer.result), None)
        else:
            question.ended(None, _failure("the client sent a response without result"))

    def progressed(self, params: bytes) -> None:
        """A progress notification of the client's."""
        token = token_of(params)
        for question in self._open.values():
            if token is not None and question.token == token and question.tell is not None:
                question.tell(jsonrpc.notification(PROGRESS, restored(params, question.raw_token)))

    # -- endings

    def _late(self, question: Question) -> None:
        self.close(question, b'"it took too long"')
        question.silent = True
        question.ended(None, _failure(too_late(int(self._timeout_s * 1000))))

    def _drop(self, question: Question) -> bool:
        if question.timer is not None:
            question.timer.cancel()
        return self._open.pop(question.id, None) is not None


def too_late(waited_ms: int) -> str:
    """What is said of a client that was silent."""
    return f"the client did not answer within {waited_ms} ms; ask again, or raise gateway.inputTimeoutMs"


def _failure(text: str) -> bytes:
    return jsonrpc.encode({"code": jsonrpc.INTERNAL_ERROR, "message": text})
