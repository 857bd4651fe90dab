"""The tools that talk in the middle of a call or beside it: ask, report, log, announce, and tell what they know.

Rule: the same arguments give the same answer in both eras. What a legacy server asks by requests of its own, a modern
one asks by ``input_required``; only how it is carried differs.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from tests.contract.servers.base import LEVELS, Call, Dropped, Message, Outcome, RpcError, text

if TYPE_CHECKING:
    from tests.contract.servers.behaviour import Behaviour

NEEDS = {"sampling/createMessage": "sampling", "elicitation/create": "elicitation", "roots/list": "roots"}
ASKED: Message = {
    "sampling/createMessage": {
        "messages": [{"role": "user", "content": {"type": "text", "text": "Say it"}}],
        "maxTokens": 1,
    },
    "elicitation/create": {
        "mode": "form",
        "message": "Who?",
        "requestedSchema": {"type": "object", "properties": {"name": {"type": "string"}}},
    },
}
MARK = 'st@te/+="é 😀"\\ '
"""Begins every ``requestState``: whoever does not echo it byte for byte is caught."""


def gather(server: Behaviour, arguments: Message, call: Call) -> Message:
    """Asks ``rounds``, each a list of ``{"key", "method", "params"}`` sent at once; the answers as JSON text.

    ``via: "get"`` asks on the session's own stream (legacy HTTP), ``anyway`` asks for what the client has not
    declared (a legacy server always does), ``wait_ms`` is how long a legacy server waits for an answer.
    """
    rounds: list[list[Message]] = arguments["rounds"]
    answers = _by_input(arguments, call, rounds) if call.modern else _by_requests(server, arguments, call, rounds)
    return answers if isinstance(answers, dict) else text(json.dumps(answers))


def _by_requests(server: Behaviour, arguments: Message, call: Call, rounds: list[list[Message]]) -> list[Message]:
    answers = []
    for wanted in rounds:
        requests = [(one["method"], _params(one)) for one in wanted]
        got = call.ask(requests, via=arguments.get("via", "call"), wait_s=arguments.get("wait_ms", 5000) / 1000)
        for reply in got:
            server.log.add("(gave up)" if reply is None else "(answered)", answer=reply, mark=arguments.get("mark"))
        answers.append({one["key"]: _outcome(reply) for one, reply in zip(wanted, got, strict=True)})
    return answers


def _outcome(reply: Message | None) -> Any:
    if reply is None:
        return {"unanswered": True}
    return reply["result"] if "result" in reply else {"error": reply["error"]}


def _by_input(arguments: Message, call: Call, rounds: list[list[Message]]) -> Message | list[Message]:
    """One round per request; what was answered so far is in the ``requestState``."""
    state, responses = call.params.get("requestState"), call.params.get("inputResponses") or {}
    if state is None:
        done: list[Message] = []
    elif not state.startswith(MARK):
        raise RpcError(-32602, f"requestState was not ours: {state!r}")
    else:
        done = json.loads(state.removeprefix(MARK))
        wanted = rounds[len(done)]
        if all(one["key"] in responses for one in wanted):
            done.append({one["key"]: responses[one["key"]] for one in wanted})
    if len(done) == len(rounds):
        return done
    wanted = rounds[len(done)]
    missing: Message = {
        need: {} for one in wanted if (need := NEEDS.get(one["method"], "")) not in call.peer.capabilities
    }
    if missing and not arguments.get("anyway"):
        raise RpcError(-32021, f"The client lacks {', '.join(missing)}", {"requiredCapabilities": missing})
    requests = {one["key"]: {"method": one["method"], "params": _params(one)} for one in wanted}
    asked: Message = {"inputRequests": requests} if requests else {}
    return {"resultType": "input_required", **asked, "requestState": MARK + json.dumps(done)}


def _params(request: Message) -> Message:
    default: Message = ASKED.get(request["method"], {})
    params: Message = request.get("params", default)
    return params


def _ask(server: Behaviour, arguments: Message, call: Call) -> Message:
    """One request, and its raw answer as JSON text; a legacy server's alone."""
    method = arguments.get("method", "sampling/createMessage")
    if call.modern:
        return gather(server, {"rounds": [[{"key": "one", "method": method}]], **arguments}, call)
    wait_s = arguments.get("wait_ms", 5000) / 1000
    (reply,) = call.ask([(method, arguments.get("params", ASKED.get(method, {})))], wait_s=wait_s)
    return text(json.dumps({"unanswered": True} if reply is None else reply))


def _withdraw(_: Behaviour, arguments: Message, call: Call) -> Message:
    """Asks, takes the request back at once (``notifications/cancelled``) and answers."""
    call.ask([(method := arguments.get("method", "roots/list"), ASKED.get(method, {}))], wait_s=0, withdraw=True)
    return text("withdrawn")


def _progress(server: Behaviour, arguments: Message, call: Call) -> Message | None:
    """Reports ``steps`` of progress (2), then holds until ``release`` if told to ``hold``; ``hums``: with comments."""
    steps = arguments.get("steps", 2)
    for step in range(1, steps + 1):
        params = {"progressToken": call.meta.get("progressToken"), "progress": step, "total": steps}
        call.notify("notifications/progress", {**params, "x-step": step})
    return text("progressed", structuredContent=arguments) if _held(server, arguments, call) else None


def _speak(server: Behaviour, arguments: Message, call: Call) -> Message | None:
    """Logs one message per level of ``levels``, as far as the client's level admits it; ``force`` logs all."""
    for level in arguments.get("levels", LEVELS):
        if arguments.get("force") or _admits(call, level):
            call.notify("notifications/message", {"level": level, "logger": "fixture", "data": {"said": level}})
    return text("spoken") if _held(server, arguments, call) else None


def _admits(call: Call, level: str) -> bool:
    """Legacy: everything until ``logging/setLevel`` says otherwise. Modern: nothing without a level."""
    if call.peer.level is None:
        return not call.modern
    return LEVELS.index(level) >= LEVELS.index(call.peer.level)


def _held(server: Behaviour, arguments: Message, call: Call) -> bool:
    """Whether the call goes on; False if it was cancelled while it waited for ``release`` of the name ``hold``."""
    name = arguments.get("hold")
    if name is None:
        return True
    server.log.add("holding", id=call.id, mark=name)
    while name not in server.released:
        if arguments.get("hums"):
            call.comment()
        if call.wait(0.02):
            server.log.add("stopped", id=call.id, mark=name)
            return False
    return True


def _release(server: Behaviour, arguments: Message, _: Call) -> Message:
    server.released.add(arguments["hold"])
    return text("released")


def _announce(server: Behaviour, arguments: Message, _: Call) -> Message:
    """Tells the audience ``notifications/WHAT`` with ``params``; how many streams it went to."""
    return text(str(server.audience.announce(f"notifications/{arguments['what']}", arguments.get("params", {}))))


def _grow(server: Behaviour, arguments: Message, _: Call) -> Message:
    """One more tool in the list, and the audience is told."""
    server.grown.append(arguments["name"])
    return text(str(server.audience.announce("notifications/tools/list_changed", {})))


def _dismiss(server: Behaviour, arguments: Message, _: Call) -> Message:
    """Ends every stream of changes, with a final result if ``graceful``."""
    return text(str(server.audience.dismiss(graceful=arguments.get("graceful", False))))


def _peer(_: Behaviour, __: Message, call: Call) -> Message:
    """What the server knows of its caller, as JSON text."""
    return text(json.dumps({**asdict(call.peer), "uris": sorted(call.peer.uris), "modern": call.modern}))


def _counts(server: Behaviour, _: Message, __: Call) -> Message:
    """What is open here, as JSON text."""
    return text(json.dumps({"listeners": len(server.audience), "filters": server.audience.filters()}))


def _drop(_: Behaviour, arguments: Message, __: Call) -> Dropped:
    """Legacy HTTP: the stream ends without the answer, which waits for ``Last-Event-ID``."""
    return Dropped(text("resumed"), arguments.get("retry_ms", 10))


def _need(_: Behaviour, arguments: Message, call: Call) -> Message:
    """Refuses with -32021 unless the client has declared ``capability``."""
    if arguments["capability"] in call.peer.capabilities:
        return text("had")
    data: Message = {"requiredCapabilities": {arguments["capability"]: {}}}
    raise RpcError(-32021, f"The client lacks {arguments['capability']}", data)


def _raw(_: Behaviour, arguments: Message, call: Call) -> Message:
    """Says whatever it is told to say, before its answer."""
    for message in arguments["messages"]:
        call.emit(message)
    return text("said")


def _round(_: Behaviour, arguments: Message, __: Call) -> Message:
    """A round of input with whatever is given for it."""
    return {"resultType": "input_required", **arguments}


TALKING: dict[str, Callable[[Behaviour, Message, Call], Outcome]] = {
    "gather": gather,
    "ask": _ask,
    "withdraw": _withdraw,
    "progress": _progress,
    "speak": _speak,
    "release": _release,
    "announce": _announce,
    "grow": _grow,
    "dismiss": _dismiss,
    "peer": _peer,
    "counts": _counts,
    "drop": _drop,
    "need": _need,
    "raw": _raw,
    "round": _round,
}
