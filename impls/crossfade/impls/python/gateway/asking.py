"""Owns the rounds of input between a modern server and a legacy client.

The server answers ``input_required``; each of its requests becomes one to the client, on the response of the call, and
the call is sent again with the answers and the server's ``requestState`` as it was (2026-07-28 basic/patterns/mrtr).
Rules: a client is asked only what it declared; a server that never has enough is stopped; what is still asked when one
answer ends the call is taken back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

import msgspec

from crossfade.impls.errors import ProtocolViolation, RemoteError
from crossfade.impls.python import jsonrpc
from crossfade.impls.python.rounds import (
    Asked,
    BadRound,
    declares,
    is_input_required,
    missing_capability,
    read_round,
    refused,
    request_to_legacy,
)

if TYPE_CHECKING:
    from crossfade.impls.python.gateway.questions import Question, Questions
    from crossfade.impls.python.gateway.speech import Speaker

MOST_ROUNDS: Final = 16
_FIRST_PAUSE_S: Final = 0.05
_LONGEST_PAUSE_S: Final = 2.0

Send = Callable[[dict[str, msgspec.Raw]], Awaitable[bytes]]
"""Sends the request with further params."""


async def answered(send: Send, first: bytes, speaker: Speaker, questions: Questions, server: str) -> bytes:
    """The result of a call whose ``first`` one may be a round. Raises what the call ends with."""
    result = first
    for made in range(MOST_ROUNDS):
        if not is_input_required(result):
            return result
        try:
            found = read_round(result)
        except BadRound as error:
            raise ProtocolViolation(
                f"server {server!r} asked for input in a way that is none: {error}; look at the server", server=server
            ) from None
        more: dict[str, msgspec.Raw] = {}
        if found.asked:
            responses = await _ask(found.asked, speaker, questions, server)
            more["inputResponses"] = msgspec.Raw(jsonrpc.encode(responses))
        else:
            await asyncio.sleep(min(_FIRST_PAUSE_S * 2**made, _LONGEST_PAUSE_S))
        if found.state is not None:
            more["requestState"] = msgspec.Raw(found.state)
        result = await send(more)
    if not is_input_required(result):
        return result
    raise ProtocolViolation(
        f"server {server!r} asked for input in {MOST_ROUNDS} rounds and still wants more; look at the server",
        server=server,
    )


async def _ask(asked: list[Asked], speaker: Speaker, questions: Questions, server: str) -> dict[str, msgspec.Raw]:
    for one in asked:
        if not declares(questions.capabilities, one.method):
            raise RemoteError(
                f"server {server!r} needs {one.method}, which the client has not declared; declare it in initialize",
                server=server,
                remote_code=jsonrpc.MISSING_CAPABILITY,
                data=msgspec.json.decode(missing_capability(one.method)),
            )
    loop = asyncio.get_running_loop()
    waiting: dict[str, asyncio.Future[bytes]] = {one.key: loop.create_future() for one in asked}
    opened = [_open(one, waiting[one.key], speaker, questions, server) for one in asked]
    try:
        answers = await asyncio.gather(*waiting.values())
    finally:
        for question in opened:
            questions.close(question, b'"the call is over"')
        for future in waiting.values():
            future.cancel()
    return {key: msgspec.Raw(answer) for key, answer in zip(waiting, answers, strict=True)}


def _open(one: Asked, future: asyncio.Future[bytes], speaker: Speaker, questions: Questions, server: str) -> Question:
    def ended(result: bytes | None, error: bytes | None) -> None:
        if future.done():
            return
        stand_in = None if question.silent else refused(one.method)
        if result is not None:
            future.set_result(result)
        elif stand_in is not None:
            future.set_result(stand_in)
        else:
            future.set_exception(jsonrpc.remote_error(error or b"{}", server))
            future.exception()  # another one may have ended the call before

    params = request_to_legacy(one.method, one.params, f"crossfade-{id(future):x}")
    question = questions.ask(speaker, one.method, params, ended)
    return question
